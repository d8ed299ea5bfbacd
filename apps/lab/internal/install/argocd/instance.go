package argocd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// rootName is the app of apps.
const rootName = "grpc-lb"

// Config says what is deployed by Argo CD.
type Config struct {
	Kube *kube.Client
	// Root is the checkout, Dir an empty directory for the copy.
	Root, Dir string
	// Images replaces images of base, name to reference.
	Images map[string]string
	// Unable says of overlays why their pods cannot run here: their Applications
	// are only wanted to be Synced.
	Unable map[string]string
	// Retries is how often a claim that is not proven is tried again.
	Retries int
}

// instance is Argo CD on a cluster with the checkout's copy.
type instance struct {
	kube   *kube.Client
	source *source
	unable map[string]string // by Application
	note   func(format string, args ...any)

	rendered map[string]*unstructured.Unstructured // what argocd/ renders: Applications by name
	applied  time.Time                             // when root was
	first    firstSync
}

// open installs Argo CD and its repository, and reads what argocd/ holds.
func (a *ArgoCD) open(ctx context.Context, cfg Config, note func(string, ...any)) (*instance, error) {
	s := &instance{kube: cfg.Kube, note: note, unable: map[string]string{}, rendered: map[string]*unstructured.Unstructured{}}
	for name, why := range cfg.Unable {
		s.unable[manifest.Namespace(name)] = why
	}
	note("install Argo CD %s", a.tag())
	begin := time.Now()
	if err := a.Install(ctx, cfg.Kube); err != nil {
		return nil, err
	}
	note("Argo CD was ready after %s", time.Since(begin).Round(10*time.Millisecond))
	var err error
	if s.source, err = newSource(ctx, cfg, note); err != nil {
		return nil, err
	}
	if _, err := s.source.publish(ctx, "main"); err != nil {
		return nil, err
	}
	rendered, err := manifest.Build(filesys.MakeFsOnDisk(), filepath.Join(cfg.Dir, "argocd"))
	if err != nil {
		return nil, fmt.Errorf("argocd: rendering argocd/: %w", err)
	}
	objects, err := manifest.Unstructured(rendered)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.GetKind() == "Application" {
			s.rendered[o.GetName()] = o
		}
	}
	return s, nil
}

// apps returns the names of the Applications in argocd/, able those whose pods
// can run.
func (s *instance) apps() []string {
	var names []string
	for name := range s.rendered {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *instance) able() []string {
	return slices.DeleteFunc(s.apps(), func(name string) bool { return s.unable[name] != "" })
}

// applyRoot does what argocd/root.yaml tells a user to do.
func (s *instance) applyRoot(ctx context.Context) error {
	content, err := os.ReadFile(filepath.Join(s.source.dir, "argocd/root.yaml"))
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	objects, err := manifest.Unstructured(content)
	if err != nil {
		return fmt.Errorf("argocd: root.yaml: %w", err)
	}
	s.note("kubectl apply -n argocd -f argocd/root.yaml")
	s.applied = time.Now()
	return s.kube.Apply(ctx, objects...)
}

// automate turns automatic syncs of an Application off, or on as it is in git.
func (s *instance) automate(ctx context.Context, name string, on bool) error {
	policy := "null"
	if on {
		policy = `{"prune":true,"selfHeal":true}`
	}
	s.note("automatic syncs of %s: %t", name, on)
	return s.patch(ctx, application(name), `{"spec":{"syncPolicy":{"automated":`+policy+`}}}`)
}

// deleteApps deletes Applications and waits until they and their namespaces are gone.
func (s *instance) deleteApps(ctx context.Context, names ...string) error {
	resource, err := applications(s.kube)
	if err != nil {
		return err
	}
	for _, name := range names {
		s.note("delete Application %s", name)
		if err := resource.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("deleting Application %s: %w", name, err)
		}
		// The deletion would wait for a sync that waits for what never comes.
		if err := s.endSync(ctx, name); err != nil {
			return err
		}
	}
	return s.gone(ctx, names...)
}

// endSync does what `argocd app terminate-op` does to an Application that syncs.
func (s *instance) endSync(ctx context.Context, name string) error {
	a, err := s.app(ctx, name)
	if err != nil || a == nil || a.Status.OperationState.Phase != "Running" {
		return err
	}
	s.note("argocd app terminate-op %s", name)
	if err := s.patch(ctx, application(name), `{"status":{"operationState":{"phase":"Terminating"}}}`); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("ending the sync of Application %s: %w", name, err)
	}
	return nil
}

// confirm does what `argocd app confirm-deletion` does to an Application.
func (s *instance) confirm(ctx context.Context, name string) error {
	s.note("argocd app confirm-deletion %s", name)
	return s.patch(ctx, application(name), fmt.Sprintf(`{"metadata":{"annotations":{"argocd.argoproj.io/deletion-approved":%q}}}`, time.Now().UTC().Format(time.RFC3339)))
}

// gone waits until Applications and their namespaces are.
func (s *instance) gone(ctx context.Context, names ...string) error {
	return poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		var left []string
		for _, name := range names {
			a, err := s.app(ctx, name)
			if err != nil {
				return "", err
			}
			n, err := s.get(ctx, Resource{Version: "v1", Kind: "Namespace", Name: name})
			if err != nil {
				return "", err
			}
			if a != nil {
				left = append(left, "Application "+name)
			}
			if n != nil {
				left = append(left, "namespace "+name)
			}
		}
		if len(left) > 0 {
			return "still there: " + strings.Join(left, ", "), nil
		}
		return "", nil
	})
}

// deleteAll deletes every Application, root first without what it made so that
// it brings none back.
func (s *instance) deleteAll(ctx context.Context) error {
	resource, err := applications(s.kube)
	if meta.IsNoMatchError(err) {
		return nil // the installation did not come so far
	}
	if err != nil {
		return err
	}
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var names []string
	for _, o := range list.Items {
		if o.GetName() != rootName {
			names = append(names, o.GetName())
			continue
		}
		if err := s.patch(ctx, application(rootName), `{"metadata":{"finalizers":null}}`); err != nil {
			return err
		}
		if err := resource.Delete(ctx, rootName, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	if err := s.deleteApps(ctx, names...); err != nil {
		return err
	}
	return s.releaseProjects(ctx)
}

// releaseProjects lets AppProjects be deleted without Argo CD, which is about to
// be deleted itself.
func (s *instance) releaseProjects(ctx context.Context) error {
	resource, err := s.kube.Resource(appProject(""))
	if err != nil {
		return err
	}
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range list.Items {
		if err := s.patch(ctx, appProject(o.GetName()), `{"metadata":{"finalizers":null}}`); err != nil {
			return err
		}
	}
	return nil
}

// Deployer lets strategies be deployed by Argo CD, an Application each. It
// implements runner.Deployer.
type Deployer struct{ on *instance }

// Deploy applies the strategy's Application and waits until it is Synced and
// Healthy.
func (d *Deployer) Deploy(ctx context.Context, strategy string) error {
	name := manifest.Namespace(strategy)
	if err := d.on.kube.Apply(ctx, d.on.rendered[name]); err != nil {
		return err
	}
	return d.on.until(ctx, []string{name}, (*App).fine)
}

// Restore lets root bring every Application back as it is in git.
func (d *Deployer) Restore(ctx context.Context) error {
	if err := d.on.automate(ctx, rootName, true); err != nil {
		return err
	}
	return d.on.refresh(ctx, "normal", rootName)
}

// Release stops Argo CD from undoing what is changed by hand. A strategy that came
// to nothing before Deploy has no Application that would.
func (d *Deployer) Release(ctx context.Context, strategy string) error {
	if err := d.on.automate(ctx, manifest.Namespace(strategy), false); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}
