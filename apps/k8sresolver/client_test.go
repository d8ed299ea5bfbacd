package k8sresolver_test

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// Tests that a process outside a pod is told what to use instead.
func TestNewInClusterClient_OutsidePod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := k8sresolver.NewInClusterClient()
	if want := "use NewClient with a kubeconfig"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("NewInClusterClient() error = %v, want it to contain %q", err, want)
	}
}

// Tests that a configuration that cannot work is refused with the reason.
func TestNewClient_Refused(t *testing.T) {
	tests := []struct {
		name string
		cfg  rest.Config
		want string
	}{
		{name: "bad_host", cfg: rest.Config{Host: "https://a b"}, want: `the API server "https://a b"`},
		{
			name: "wrong_ca",
			cfg:  rest.Config{Host: "https://api", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("none")}},
			want: "root certificates",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := k8sresolver.NewClient(&test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("NewClient() error = %v, want it to contain %q", err, test.want)
			}
		})
	}
}

// Tests that the caller's configuration stays as it is, since it may make other
// clients of it.
func TestNewClient_KeepsConfig(t *testing.T) {
	cfg := &rest.Config{Host: "https://api"}
	newClient(t, cfg)
	if cfg.GroupVersion != nil || cfg.QPS != 0 || cfg.ContentType != "" {
		t.Errorf("NewClient changed its argument to %+v", cfg)
	}
}
