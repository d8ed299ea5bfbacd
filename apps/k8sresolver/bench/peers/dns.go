package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
)

// dnsServer stands in for CoreDNS before a headless Service: it answers with the ready
// endpoints of this moment, without the lag and the TTL of a real one. While the API
// is down it repeats its last answer, as CoreDNS does.
type dnsServer struct {
	api    conformance.API
	client *http.Client
	addr   string
	close  func()

	mu   sync.Mutex
	last map[string][]netip.Addr
}

func startDNS(api conformance.API) (*dnsServer, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(api.CA)
	s := &dnsServer{
		api:    api,
		client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
		last:   make(map[string][]netip.Addr),
	}
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = stream.Addr().String()
	packets, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		return nil, err
	}
	servers := []*dns.Server{{Listener: stream, Handler: s}, {PacketConn: packets, Handler: s}}
	for _, server := range servers {
		go func() { _ = server.ActivateAndServe() }()
	}
	s.close = func() {
		for _, server := range servers {
			_ = server.Shutdown()
		}
		s.client.CloseIdleConnections()
	}
	return s, nil
}

// ServeDNS implements dns.Handler.
func (s *dnsServer) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg).SetReply(query)
	defer func() {
		if w.LocalAddr().Network() == "udp" {
			answer.Truncate(dns.MinMsgSize)
		}
		_ = w.WriteMsg(answer)
	}()
	question := query.Question[0]
	parts := strings.Split(question.Name, ".")
	if len(parts) < 3 || parts[2] != "svc" {
		answer.Rcode = dns.RcodeNameError
		return
	}
	addrs, err := s.lookup(parts[0], parts[1])
	if err != nil {
		answer.Rcode = dns.RcodeServerFailure
		return
	}
	if len(addrs) == 0 {
		answer.Rcode = dns.RcodeNameError
		return
	}
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 0}
	for _, addr := range addrs {
		switch {
		case question.Qtype == dns.TypeA && addr.Is4():
			answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
		case question.Qtype == dns.TypeAAAA && addr.Is6():
			answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
}

func (s *dnsServer) lookup(service, namespace string) ([]netip.Addr, error) {
	addrs, err := s.list(service, namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := namespace + "/" + service
	if err != nil {
		if last, ok := s.last[key]; ok {
			return last, nil
		}
		return nil, err
	}
	s.last[key] = addrs
	return addrs, nil
}

func (s *dnsServer) list(service, namespace string) ([]netip.Addr, error) {
	token, err := os.ReadFile(s.api.TokenFile)
	if err != nil {
		return nil, err
	}
	selector := url.Values{"labelSelector": {discoveryv1.LabelServiceName + "=" + service}}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet,
		s.api.URL+"/apis/discovery.k8s.io/v1/namespaces/"+namespace+"/endpointslices?"+selector.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list discoveryv1.EndpointSliceList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != http.StatusOK {
		return nil, cmp.Or(err, fmt.Errorf("peers: listing: %s", resp.Status))
	}
	return readyAddrs(list.Items), nil
}

func readyAddrs(all []discoveryv1.EndpointSlice) []netip.Addr {
	var addrs []netip.Addr
	for _, es := range all {
		for _, e := range es.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, text := range e.Addresses {
				if addr, err := netip.ParseAddr(text); err == nil && !slices.Contains(addrs, addr) {
					addrs = append(addrs, addr)
				}
			}
		}
	}
	return addrs
}
