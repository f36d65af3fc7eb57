package main

import (
	"context"
	"time"

	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/pkg/utils"
)

// Seen is an instance as Kitex's clients see it.
type Seen struct {
	Addr   string            `json:"addr"`
	Weight int               `json:"weight"`
	Tags   map[string]string `json:"tags"`
}

// View is what a resolver of Kitex's answers, or the error that a client would get.
type View struct {
	Error     string `json:"error"`
	Instances []Seen `json:"instances"`
}

// resolve prints the view; of the tags those that it is asked for, since Kitex lists none.
func resolve(options Options) error {
	resolver, err := makeResolver(options)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	found, err := resolver.Resolve(ctx, options.service)
	view := View{Instances: []Seen{}}
	if err != nil {
		view.Error = err.Error()
	}
	for _, instance := range found.Instances {
		tags := map[string]string{}
		for _, key := range options.tagKeys() {
			if value, has := instance.Tag(key); has {
				tags[key] = value
			}
		}
		view.Instances = append(view.Instances, Seen{instance.Address().String(), instance.Weight(), tags})
	}
	return say(view)
}

// hold has a plugin of Kitex's publish a record without any server behind it.
func hold(options Options) error {
	plugin, err := makeRegistry(options)
	if err != nil {
		return err
	}
	info := &registry.Info{
		ServiceName: options.service,
		Addr:        utils.NewNetAddr("tcp", options.addr),
		Weight:      options.weight,
		Tags:        options.tagMap(),
	}
	if err := plugin.Register(info); err != nil {
		return err
	}
	if err := say("registered"); err != nil {
		return err
	}
	untilInputEnds()
	return plugin.Deregister(info)
}
