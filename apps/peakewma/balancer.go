package peakewma

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"
)

// Name is that of the policy in a service config.
const Name = "peak_ewma_experimental"

// defaultDecay is Finagle's.
const defaultDecay = 10 * time.Second

func init() { balancer.Register(builder{}) }

// config is the policy's part of a service config: {"decay": "10s"}.
type config struct {
	serviceconfig.LoadBalancingConfig
	decay time.Duration
}

type builder struct{}

// Name implements balancer.Builder.
func (builder) Name() string { return Name }

// ParseConfig implements balancer.ConfigParser.
func (builder) ParseConfig(raw json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	var given struct {
		Decay string `json:"decay"`
	}
	if err := json.Unmarshal(raw, &given); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	cfg := &config{decay: defaultDecay}
	if given.Decay == "" {
		return cfg, nil
	}
	var err error
	if cfg.decay, err = time.ParseDuration(given.Decay); err != nil || cfg.decay <= 0 {
		return nil, fmt.Errorf("%s: decay %q, expected a duration of more than 0s, like \"10s\"", Name, given.Decay)
	}
	return cfg, nil
}

// Build implements balancer.Builder.
func (builder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	b := &peakEWMA{ClientConn: cc, decay: defaultDecay, averages: resolver.NewEndpointMap[*average]()}
	b.Balancer = endpointsharding.NewBalancer(b, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	return b
}

// peakEWMA stands between the channel and a pick_first for each endpoint: it sees
// what goes down to these and what comes up from them.
type peakEWMA struct {
	balancer.Balancer   // of the endpoints
	balancer.ClientConn // of the channel

	mu       sync.Mutex
	decay    time.Duration
	averages *resolver.EndpointMap[*average] // of those that are ready
}

// UpdateClientConnState implements balancer.Balancer.
func (b *peakEWMA) UpdateClientConnState(s balancer.ClientConnState) error {
	cfg, ok := s.BalancerConfig.(*config)
	if !ok {
		return fmt.Errorf("%s: got a configuration of type %T: %w", Name, s.BalancerConfig, balancer.ErrBadResolverState)
	}
	b.mu.Lock()
	b.decay = cfg.decay
	b.mu.Unlock()
	// pick_first must know of health checks that it stands below a policy.
	return b.Balancer.UpdateClientConnState(balancer.ClientConnState{ResolverState: pickfirst.EnableHealthListener(s.ResolverState)})
}

// UpdateState implements balancer.ClientConn: gRPC calls it when the state
// of an endpoint changes. It keeps what it knows of endpoints that stay ready.
func (b *peakEWMA) UpdateState(s balancer.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &picker{decay: b.decay}
	ready := resolver.NewEndpointMap[*average]()
	for _, child := range endpointsharding.ChildStatesFromPicker(s.Picker) {
		if child.State.ConnectivityState != connectivity.Ready {
			continue
		}
		known, ok := b.averages.Get(child.Endpoint)
		if !ok {
			known = &average{}
		}
		ready.Set(child.Endpoint, known)
		p.endpoints = append(p.endpoints, endpoint{child.State.Picker, known})
	}
	b.averages = ready
	if len(p.endpoints) > 0 {
		s.Picker = p
	}
	b.ClientConn.UpdateState(s)
}

type endpoint struct {
	balancer.Picker
	*average
}

type picker struct {
	decay     time.Duration
	endpoints []endpoint
}

// Pick implements balancer.Picker.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	began := time.Now()
	chosen := p.choose(began)
	result, err := chosen.Pick(info)
	if err != nil {
		return result, err
	}
	chosen.begin()
	done := result.Done
	result.Done = func(d balancer.DoneInfo) {
		now := time.Now()
		took := now.Sub(began)
		switch status.Code(d.Err) {
		case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
			took = max(took, failurePenalty)
		}
		chosen.end(now, p.decay, took)
		if done != nil {
			done(d)
		}
	}
	return result, nil
}

// choose returns the better of two different endpoints.
func (p *picker) choose(now time.Time) endpoint {
	first := rand.IntN(len(p.endpoints))
	if len(p.endpoints) == 1 {
		return p.endpoints[first]
	}
	second := (first + 1 + rand.IntN(len(p.endpoints)-1)) % len(p.endpoints)
	a, b := p.endpoints[first], p.endpoints[second]
	if b.load(now, p.decay) < a.load(now, p.decay) {
		return b
	}
	return a
}
