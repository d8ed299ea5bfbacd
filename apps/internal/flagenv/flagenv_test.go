package flagenv_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/flagenv"
)

// A variable sets a flag that the command line lacks; a flag wins, an empty variable is
// none, and a wrong value is told with the variable's name.
func TestApply(t *testing.T) {
	for _, tc := range []struct {
		name, args, env string
		want            int
		err             string
	}{
		{name: "neither", want: 1},
		{name: "variable", env: "8081", want: 8081},
		{name: "flag_wins", args: "--health-port=2", env: "8081", want: 2},
		{name: "flag_of_zero_wins", args: "--health-port=0", env: "8081", want: 0},
		{name: "not_a_number", env: "http", err: `HEALTH_PORT="http": invalid argument "http" for "--health-port" flag`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
			got := fs.Int("health-port", 1, "")
			if err := fs.Parse(strings.Fields(tc.args)); err != nil {
				t.Fatal(err)
			}
			err := flagenv.Apply(fs, func(name string) string {
				if name != "HEALTH_PORT" {
					t.Errorf("variable %q, want HEALTH_PORT", name)
				}
				return tc.env
			}, "health-port")
			switch {
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("Apply() = %v, want %q", err, tc.err)
			case tc.err == "" && (err != nil || *got != tc.want):
				t.Errorf("Apply() = %v and %d, want %d", err, *got, tc.want)
			}
		})
	}
}
