package main

import (
	"fmt"
	"time"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/registry"
	consul "github.com/kitex-contrib/registry-consul"
	etcd "github.com/kitex-contrib/registry-etcd"
	zkregistry "github.com/kitex-contrib/registry-zookeeper/registry"
	zkresolver "github.com/kitex-contrib/registry-zookeeper/resolver"
)

const sessionTimeout = 10 * time.Second

func (options Options) endpoints() []string {
	return []string{options.endpoint}
}

// makeRegistry makes one of Kitex's plugins: etcd, etcd-without-prefix (as its deprecated
// constructor does), zookeeper or consul.
func makeRegistry(options Options) (registry.Registry, error) {
	switch options.registry {
	case "etcd", "etcd-zero":
		return etcd.NewEtcdRegistry(options.endpoints())
	case "etcd-without-prefix":
		return etcd.NewEtcdRegistryWithAuth(options.endpoints(), "", "")
	case "zookeeper":
		return zkregistry.NewZookeeperRegistry(options.endpoints(), sessionTimeout)
	case "consul":
		return consul.NewConsulRegister(options.endpoint)
	}
	return nil, fmt.Errorf("no registry is called %q", options.registry)
}

// makeResolver makes the resolver that belongs to it; that of etcd-zero leaves weight 0 alone.
func makeResolver(options Options) (discovery.Resolver, error) {
	switch options.registry {
	case "etcd":
		return etcd.NewEtcdResolver(options.endpoints())
	case "etcd-zero":
		return etcd.NewEtcdResolver(options.endpoints(), etcd.WithDefaultWeight(0))
	case "etcd-without-prefix":
		return etcd.NewEtcdResolverWithAuth(options.endpoints(), "", "")
	case "zookeeper":
		return zkresolver.NewZookeeperResolver(options.endpoints(), sessionTimeout)
	case "consul":
		return consul.NewConsulResolver(options.endpoint)
	}
	return nil, fmt.Errorf("no resolver is called %q", options.registry)
}
