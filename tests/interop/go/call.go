package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"

	"enlist.example/interop/kitex_gen/echo"
	echoservice "enlist.example/interop/kitex_gen/echo/echo"
	"enlist.example/interop/kitex_gen/greet"
	greeterservice "enlist.example/interop/kitex_gen/greet/greeter"
)

// call has a client of Kitex's find the service and call it, and prints each answer.
func call(options Options) error {
	resolver, err := makeResolver(options)
	if err != nil {
		return err
	}
	say, err := newClient(options, []client.Option{
		client.WithResolver(resolver),
		client.WithRPCTimeout(20 * time.Second),
		client.WithConnectTimeout(10 * time.Second),
	})
	if err != nil {
		return err
	}
	for range options.times {
		if err := sayOnce(say, options.text); err != nil {
			return err
		}
	}
	return nil
}

func sayOnce(sayTo func(string) (string, error), text string) error {
	answer, err := sayTo(text)
	if err != nil {
		return err
	}
	return say(answer)
}

// newClient leaves Thrift as it is by default, framed. Protobuf has to be told to speak gRPC.
func newClient(options Options, settings []client.Option) (func(string) (string, error), error) {
	switch options.protocol {
	case "thrift":
		peer, err := echoservice.NewClient(options.service, settings...)
		return func(text string) (string, error) {
			answer, err := peer.Say(context.Background(), &echo.Said{Text: text})
			return answer.GetText(), err
		}, err
	case "grpc":
		settings = append(settings, client.WithTransportProtocol(transport.GRPC))
		peer, err := greeterservice.NewClient(options.service, settings...)
		return func(text string) (string, error) {
			answer, err := peer.Say(context.Background(), &greet.Greeting{Text: text})
			return answer.GetText(), err
		}, err
	}
	return nil, fmt.Errorf("no protocol is called %q", options.protocol)
}
