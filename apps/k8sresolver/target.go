package k8sresolver

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Scheme is the scheme of the targets that this package resolves.
const Scheme = "k8s"

// Target is what a target names, such as "k8s:///echo-server.prod:grpc".
type Target struct {
	Service string
	// Namespace is empty if the target names none.
	Namespace string
	// Port is the number of the pods' port, or the name of the Service's port. It is
	// empty if the EndpointSlices decide.
	Port string
}

// ParseTarget parses a target as the resolver does. Tools that judge targets
// without dialling them use it.
func ParseTarget(target resolver.Target) (Target, error) {
	svc, port, err := parseTarget(target)
	if err != nil {
		return Target{}, err
	}
	name := port.name
	if port.number != 0 {
		name = strconv.Itoa(int(port.number))
	}
	return Target{Service: svc.name, Namespace: svc.namespace, Port: name}, nil
}

// service names a Service in the cluster.
type service struct {
	name, namespace string
}

// portRef is the port as the target gives it: by number, by name, or, when both
// are zero, left to the EndpointSlices.
type portRef struct {
	number uint16
	name   string
}

// parseTarget splits a target into its Service, whose namespace is empty when the
// target names none, and its port.
func parseTarget(target resolver.Target) (service, portRef, error) {
	svc, port, err := splitTarget(target)
	if err != nil {
		err = fmt.Errorf("k8sresolver: target %q: %w; expected k8s:///service[.namespace][:port]", target.URL.String(), err)
	}
	return svc, port, err
}

func splitTarget(target resolver.Target) (service, portRef, error) {
	if host := target.URL.Host; host != "" {
		return service{}, portRef{}, fmt.Errorf("%q stands where an authority would; write three slashes", host)
	}
	if target.URL.RawQuery != "" || target.URL.Fragment != "" {
		return service{}, portRef{}, errors.New("has a query or a fragment, which mean nothing here")
	}
	host, rawPort, hasPort := strings.Cut(target.Endpoint(), ":")
	if strings.HasPrefix(host, "[") || isIP(host) || isIP(target.Endpoint()) {
		return service{}, portRef{}, errors.New("holds an IP address, not the name of a Service")
	}
	svc, err := parseService(host)
	if err != nil {
		return service{}, portRef{}, err
	}
	if !hasPort {
		return svc, portRef{}, nil
	}
	port, err := parsePort(rawPort)
	return svc, port, err
}

func parseService(host string) (service, error) {
	name, namespace, dotted := strings.Cut(host, ".")
	switch {
	case name == "":
		return service{}, errors.New("the service is empty")
	case dotted && namespace == "":
		return service{}, errors.New("the namespace after the dot is empty")
	case strings.Contains(namespace, "."):
		return service{}, fmt.Errorf("%q has too many dots, it is not a DNS name", host)
	}
	if err := checkLabel("service", name); err != nil {
		return service{}, err
	}
	if dotted {
		if err := checkLabel("namespace", namespace); err != nil {
			return service{}, err
		}
	}
	return service{name: name, namespace: namespace}, nil
}

func checkLabel(what, label string) error {
	if label != strings.ToLower(label) {
		return fmt.Errorf("%s %q has upper case letters", what, label)
	}
	if problems := validation.IsDNS1123Label(label); len(problems) > 0 {
		return fmt.Errorf("%s %q is not a name: %s", what, label, problems[0])
	}
	return nil
}

func parsePort(port string) (portRef, error) {
	if port == "" {
		return portRef{}, errors.New("the port after the colon is empty")
	}
	if strings.Trim(port, "0123456789") == "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return portRef{}, fmt.Errorf("port %s is not within 1 and 65535", port)
		}
		return portRef{number: uint16(number)}, nil
	}
	if port != strings.ToLower(port) {
		return portRef{}, fmt.Errorf("port %q has upper case letters", port)
	}
	if problems := validation.IsValidPortName(port); len(problems) > 0 {
		return portRef{}, fmt.Errorf("port %q is neither a number nor a name: %s", port, problems[0])
	}
	return portRef{name: port}, nil
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
