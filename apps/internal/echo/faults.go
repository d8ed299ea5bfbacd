package echo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/pflag"
	codepb "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Faults are what a server does to calls of EchoService on purpose, for
// experiments; health checks are spared. The zero value does nothing.
type Faults struct {
	Delay       time.Duration // before each answer
	DelayJitter time.Duration // by how much Delay varies either way, evenly
	ErrorRate   float64       // part of the calls that fail, after the delay
	ErrorCode   codes.Code    // with which they fail; OK, the zero value, is UNAVAILABLE
	HangRate    float64       // part of the calls that are never answered
}

// AddFlags defines a flag for each field of f.
func (f *Faults) AddFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&f.Delay, "delay", 0, "experiment: wait that long before each answer")
	fs.DurationVar(&f.DelayJitter, "delay-jitter", 0, "experiment: vary --delay by up to that much either way")
	fs.Float64Var(&f.ErrorRate, "error-rate", 0, "experiment: fail that part of the calls, 0 to 1")
	fs.Func("error-code", "experiment: code that --error-rate fails with (default UNAVAILABLE)", func(s string) (err error) {
		f.ErrorCode, err = parseCode(s)
		return err
	})
	fs.Float64Var(&f.HangRate, "hang-rate", 0, "experiment: never answer that part of the calls, 0 to 1")
}

// parseCode reads the name of a code that is a failure.
func parseCode(name string) (codes.Code, error) {
	number, known := codepb.Code_value[name]
	if !known || codes.Code(number) == codes.OK {
		return 0, errors.New("expected the name of a gRPC code other than OK, such as UNAVAILABLE")
	}
	return codes.Code(number), nil
}

func (f *Faults) code() codes.Code { return cmp.Or(f.ErrorCode, codes.Unavailable) }

// check returns every violation. Field names are spelled as those of the flags
// without their dashes; named makes them what the reader knows.
func (f *Faults) check(named func(flag string) string) []error {
	var errs []error
	reject := func(bad bool, flag string, value any, expected string) {
		if bad {
			errs = append(errs, fmt.Errorf("%s %v: expected %s", named(flag), value, expected))
		}
	}
	reject(f.Delay < 0, "delay", f.Delay, "0s or more")
	reject(f.DelayJitter < 0 || f.DelayJitter > max(f.Delay, 0), "delay-jitter", f.DelayJitter, "0s to the "+named("delay"))
	rateOK := func(rate float64) bool { return rate >= 0 && rate <= 1 } // false for NaN
	reject(!rateOK(f.ErrorRate), "error-rate", f.ErrorRate, "0 to 1")
	reject(!rateOK(f.HangRate), "hang-rate", f.HangRate, "0 to 1")
	if rateOK(f.ErrorRate) && rateOK(f.HangRate) {
		reject(f.ErrorRate+f.HangRate > 1, "hang-rate", f.HangRate, "no more than 1 together with "+named("error-rate"))
	}
	return errs
}

func asFlag(name string) string  { return "--" + name }
func asField(name string) string { return strings.ReplaceAll(name, "-", "_") }

// strike is what happens to one call.
type strike struct {
	wait time.Duration
	hang bool
	code codes.Code // OK is an answer
}

// strike decides by two numbers that are evenly distributed over [0, 1).
func (f *Faults) strike(outcome, jitter float64) strike {
	if outcome < f.HangRate {
		return strike{hang: true}
	}
	s := strike{wait: f.Delay + time.Duration((2*jitter-1)*float64(f.DelayJitter))}
	if outcome < f.HangRate+f.ErrorRate {
		s.code = f.code()
	}
	return s
}

// inflict returns when the call may be answered, or the error that it ends with.
func (f *Faults) inflict(ctx context.Context) error {
	if *f == (Faults{}) {
		return nil
	}
	s := f.strike(rand.Float64(), rand.Float64())
	var waited <-chan time.Time
	if !s.hang {
		waited = time.After(s.wait)
	}
	select {
	case <-waited:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	if s.code != codes.OK {
		return status.Error(s.code, "failed on purpose: the server was told so by --error-rate or SetFaults")
	}
	return nil
}

// faultsFrom reads faults off the wire.
func faultsFrom(pb *echopb.Faults) (Faults, error) {
	f := Faults{
		Delay: pb.GetDelay().AsDuration(), DelayJitter: pb.GetDelayJitter().AsDuration(),
		ErrorRate: pb.GetErrorRate(), HangRate: pb.GetHangRate(),
	}
	var errs []error
	for _, d := range []struct {
		field string
		value *durationpb.Duration
	}{{"delay", pb.GetDelay()}, {"delay_jitter", pb.GetDelayJitter()}} {
		if d.value != nil && d.value.CheckValid() != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.field, d.value.CheckValid()))
		}
	}
	if name := pb.GetErrorCode(); name != "" {
		var err error
		if f.ErrorCode, err = parseCode(name); err != nil {
			errs = append(errs, fmt.Errorf("error_code %q: %w", name, err))
		}
	}
	return f, errors.Join(append(errs, f.check(asField)...)...)
}

func (f *Faults) proto() *echopb.Faults {
	pb := &echopb.Faults{ErrorRate: f.ErrorRate, HangRate: f.HangRate}
	if f.Delay > 0 {
		pb.Delay = durationpb.New(f.Delay)
	}
	if f.DelayJitter > 0 {
		pb.DelayJitter = durationpb.New(f.DelayJitter)
	}
	if f.ErrorRate > 0 || f.ErrorCode != codes.OK {
		pb.ErrorCode = codepb.Code(f.code()).String()
	}
	return pb
}
