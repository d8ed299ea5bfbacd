package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Words of Argo CD's API.
const (
	synced  = "Synced"
	healthy = "Healthy"
)

// App is what Argo CD says of one Application: the part of argoproj.io/v1alpha1
// that is read here.
type App struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Status struct {
		Sync struct {
			Status, Revision string
		}
		Health struct {
			Status string
		}
		Conditions []struct {
			Type, Message string
		}
		OperationState struct {
			Phase, Message string
			SyncResult     struct {
				Revision  string
				Resources []struct {
					Kind, Name, Status, Message string
				}
			}
		}
		Resources    []Resource
		ReconciledAt metav1.Time
		History      []struct {
			ID int
		}
	}
}

// Resource is one object of an Application.
type Resource struct {
	Group, Version, Kind, Namespace, Name string
}

func (r Resource) object() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(strings.TrimPrefix(r.Group+"/"+r.Version, "/"))
	o.SetKind(r.Kind)
	o.SetNamespace(r.Namespace)
	o.SetName(r.Name)
	return o
}

// fine says what keeps the Application from being Synced and Healthy, or "".
func (a *App) fine() string {
	if a.Status.Sync.Status == synced && a.Status.Health.Status == healthy {
		return ""
	}
	return a.problem()
}

// waiting says what keeps the Application from waiting for the health of what it
// applied, or "".
func (a *App) waiting() string {
	o := a.Status.OperationState
	if o.Phase == "Succeeded" && a.Status.Sync.Status == synced { // what waits was applied last
		return ""
	}
	if o.Phase != "Running" || !strings.Contains(o.Message, "waiting for healthy state") {
		return a.problem()
	}
	for _, r := range o.SyncResult.Resources {
		if r.Status != synced {
			return fmt.Sprintf("%s: %s %s is %s: %s", a.Metadata.Name, r.Kind, r.Name, r.Status, oneLine(r.Message))
		}
	}
	return ""
}

// problem says in a line what Argo CD says.
func (a *App) problem() string {
	says := []string{fmt.Sprintf("%s is %s and %s", a.Metadata.Name, orUnknown(a.Status.Sync.Status), orUnknown(a.Status.Health.Status))}
	for _, c := range a.Status.Conditions {
		says = append(says, fmt.Sprintf("%s: %.300s", c.Type, oneLine(c.Message)))
	}
	if o := a.Status.OperationState; o.Phase != "" && o.Phase != "Succeeded" {
		says = append(says, fmt.Sprintf("its sync is %s: %.200s", o.Phase, oneLine(o.Message)))
	}
	return strings.Join(says, "; ")
}

func orUnknown(status string) string {
	if status == "" {
		return "Unknown"
	}
	return status
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// applications is the collection of Argo CD's own namespace.
func applications(k *kube.Client) (dynamic.ResourceInterface, error) {
	return k.Resource(application(""))
}

func application(name string) *unstructured.Unstructured {
	return Resource{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: Namespace, Name: name}.object()
}

func appProject(name string) *unstructured.Unstructured {
	return Resource{Group: "argoproj.io", Version: "v1alpha1", Kind: "AppProject", Namespace: Namespace, Name: name}.object()
}

// app reads an Application; one that is not there is nil.
func (s *instance) app(ctx context.Context, name string) (*App, error) {
	resource, err := applications(s.kube)
	if err != nil {
		return nil, err
	}
	o, err := resource.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", name, err)
	}
	content, err := o.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", name, err)
	}
	a := &App{}
	return a, json.Unmarshal(content, a)
}

// until waits for a condition of Applications: missing says what is missing, or
// "".
func (s *instance) until(ctx context.Context, names []string, missing func(*App) string) error {
	return poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		var all []string
		for _, name := range names {
			a, err := s.app(ctx, name)
			switch {
			case err != nil:
				return "", err
			case a == nil:
				all = append(all, name+" is not there")
			default:
				if what := missing(a); what != "" {
					all = append(all, what)
				}
			}
		}
		return strings.Join(all, "; "), nil
	})
}

// patch merges into an object's fields as kubectl patch does.
func (s *instance) patch(ctx context.Context, o *unstructured.Unstructured, patch string) error {
	resource, err := s.kube.Resource(o)
	if err != nil {
		return err
	}
	_, err = resource.Patch(ctx, o.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	return err
}

// refresh asks for a reconciliation, as the annotation and the UI's button do:
// "normal" compares anew, "hard" renders anew.
func (s *instance) refresh(ctx context.Context, how string, names ...string) error {
	for _, name := range names {
		if err := s.patch(ctx, application(name), `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"`+how+`"}}}`); err != nil {
			return fmt.Errorf("refreshing %s: %w", name, err)
		}
	}
	return nil
}

// objects reads what an Application made: the objects as they are now, nil for
// one that is not there.
func (s *instance) objects(ctx context.Context, a *App) (map[Resource]*unstructured.Unstructured, error) {
	all := map[Resource]*unstructured.Unstructured{}
	for _, r := range a.Status.Resources {
		o, err := s.get(ctx, r)
		if err != nil {
			return nil, err
		}
		all[r] = o
	}
	return all, nil
}

func (s *instance) get(ctx context.Context, r Resource) (*unstructured.Unstructured, error) {
	resource, err := s.kube.Resource(r.object())
	if err != nil {
		return nil, err
	}
	o, err := resource.Get(ctx, r.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return o, err
}
