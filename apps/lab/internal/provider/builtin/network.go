//go:build linux

package builtin

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const (
	bridgeName = "lab0"
	uplink     = "eth0" // of every node but the first, which has the bridge
	nodeNet    = "172.30.0.0/24"
	serviceNet = "10.96.0.0/16"
	dnsIP      = "10.96.0.10"
)

// maxNodes follows from the addresses: one /24 of pods a node.
const maxNodes = 9

func nodeName(i int) string { return fmt.Sprintf("node-%d", i+1) }
func nodeIP(i int) string   { return fmt.Sprintf("172.30.0.%d", i+1) }
func podNet(i int) string   { return fmt.Sprintf("10.244.%d.0/24", i+1) }

// connect joins the nodes' network namespaces: a bridge in the first, a veth
// pair to each other, and routes to each node's pods. There is no uplink, so
// nothing can leave the machine, and no link ever exists on the host.
func connect(pids []int) error {
	handles := make([]*netlink.Handle, len(pids))
	for i, pid := range pids {
		ns, err := netns.GetFromPid(pid)
		if err != nil {
			return fmt.Errorf("builtin: the network namespace of %s: %w", nodeName(i), err)
		}
		defer ns.Close()
		if handles[i], err = netlink.NewHandleAt(ns); err != nil {
			return fmt.Errorf("builtin: the network namespace of %s: %w", nodeName(i), err)
		}
		defer handles[i].Close()
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	if err := handles[0].LinkAdd(bridge); err != nil {
		return fmt.Errorf("builtin: adding the bridge %s: %w", bridgeName, err)
	}
	for i := 1; i < len(pids); i++ {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: nodeName(i), MasterIndex: bridge.Index},
			PeerName:  uplink, PeerNamespace: netlink.NsPid(pids[i]),
		}
		if err := handles[0].LinkAdd(veth); err != nil {
			return fmt.Errorf("builtin: adding the link to %s: %w", nodeName(i), err)
		}
		if err := handles[0].LinkSetUp(veth); err != nil {
			return err
		}
	}
	for i, h := range handles {
		link := uplink
		if i == 0 {
			link = bridgeName
		}
		if err := configure(h, i, link, len(pids)); err != nil {
			return fmt.Errorf("builtin: network of %s: %w", nodeName(i), err)
		}
	}
	return nil
}

func configure(h *netlink.Handle, self int, name string, nodes int) error {
	for _, up := range []string{"lo", name} {
		link, err := h.LinkByName(up)
		if err != nil {
			return fmt.Errorf("link %s: %w", up, err)
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("link %s: %w", up, err)
		}
	}
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(nodeIP(self)), Mask: net.CIDRMask(24, 32)}}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", addr, err)
	}
	// Service addresses have no route of their own: the default one lets a
	// node's own processes reach them.
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	routes := []*netlink.Route{{LinkIndex: link.Attrs().Index, Dst: all}}
	for i := range nodes {
		if i == self {
			continue
		}
		_, pods, _ := net.ParseCIDR(podNet(i))
		routes = append(routes, &netlink.Route{LinkIndex: link.Attrs().Index, Dst: pods, Gw: net.ParseIP(nodeIP(i))})
	}
	for _, r := range routes {
		if err := h.RouteAdd(r); err != nil {
			return fmt.Errorf("route %s: %w", r, err)
		}
	}
	return nil
}
