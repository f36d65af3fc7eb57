package main

import (
	"context"
	"fmt"
	"net"

	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/server"

	"enlist.example/interop/kitex_gen/echo"
	echoservice "enlist.example/interop/kitex_gen/echo/echo"
	"enlist.example/interop/kitex_gen/greet"
	greeterservice "enlist.example/interop/kitex_gen/greet/greeter"
)

type echoServer struct{}

func (echoServer) Say(_ context.Context, request *echo.Said) (*echo.Said, error) {
	return &echo.Said{Text: "go heard " + request.Text}, nil
}

type greeterServer struct{}

func (greeterServer) Say(_ context.Context, request *greet.Greeting) (*greet.Greeting, error) {
	return &greet.Greeting{Text: "go heard " + request.Text}, nil
}

// serve runs a server of Kitex's, which registers itself a second after its start.
func serve(options Options) error {
	plugin, err := makeRegistry(options)
	if err != nil {
		return err
	}
	addr, err := net.ResolveTCPAddr("tcp", options.addr)
	if err != nil {
		return err
	}
	settings := []server.Option{
		server.WithServiceAddr(addr),
		server.WithServerBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: options.service}),
		server.WithRegistry(plugin),
		server.WithRegistryInfo(&registry.Info{Weight: options.weight, Tags: options.tagMap()}),
	}
	server, err := newServer(options.protocol, settings)
	if err != nil {
		return err
	}
	go func() {
		untilInputEnds()
		_ = server.Stop()
	}()
	return server.Run()
}

func newServer(protocol string, settings []server.Option) (server.Server, error) {
	switch protocol {
	case "thrift":
		return echoservice.NewServer(&echoServer{}, settings...), nil
	case "grpc":
		return greeterservice.NewServer(&greeterServer{}, settings...), nil
	}
	return nil, fmt.Errorf("no protocol is called %q", protocol)
}
