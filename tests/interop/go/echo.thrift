// What the Thrift programs of these tests speak; Kitex and thriftpy2 both read this file.
namespace go echo

struct Said {
    1: required string text
}

service Echo {
    Said Say(1: Said request)
}
