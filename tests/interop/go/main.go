// peer is Kitex, as the other side of the interop tests: its servers, its clients, its view.
//
// What it found or was answered goes to standard output, a line of JSON each. A server, and a
// record that is held, stay until standard input ends.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Options are the flags of every command; each uses those that concern it.
type Options struct {
	registry string
	endpoint string
	service  string
	protocol string
	addr     string
	weight   int
	tags     string
	text     string
	times    int
}

var commands = map[string]func(Options) error{
	"call":    call,
	"hold":    hold,
	"resolve": resolve,
	"serve":   serve,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 || commands[arguments[0]] == nil {
		return fmt.Errorf("the first argument must be call, hold, resolve or serve: %q", arguments)
	}
	var options Options
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	flags.StringVar(&options.registry, "registry", "", "which of Kitex's plugins: see registries.go")
	flags.StringVar(&options.endpoint, "endpoint", "", "host:port of the registry")
	flags.StringVar(&options.service, "service", "", "the service's name")
	flags.StringVar(&options.protocol, "protocol", "thrift", "thrift or grpc")
	flags.StringVar(&options.addr, "addr", "127.0.0.1:0", "where to listen, or what to publish")
	flags.IntVar(&options.weight, "weight", 0, "0 has a server take Kitex's default")
	flags.StringVar(&options.tags, "tags", "", "key=value,key=value; resolve takes the keys alone")
	flags.StringVar(&options.text, "text", "", "what to say")
	flags.IntVar(&options.times, "times", 1, "how often to say it")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	return commands[arguments[0]](options)
}

// tagMap gives nil where there are no tags, as Kitex's own servers hand it to a plugin.
func (options Options) tagMap() map[string]string {
	var tags map[string]string
	for _, key := range options.tagKeys() {
		name, value, _ := strings.Cut(key, "=")
		if tags == nil {
			tags = map[string]string{}
		}
		tags[name] = value
	}
	return tags
}

func (options Options) tagKeys() []string {
	return strings.FieldsFunc(options.tags, func(letter rune) bool { return letter == ',' })
}

func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}

// untilInputEnds waits for the test to close our standard input, as its death does too.
func untilInputEnds() {
	_, _ = io.Copy(io.Discard, os.Stdin)
}
