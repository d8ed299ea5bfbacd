package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	forbidden        = "forbidden" // the branch and the path
	forbiddenObjects = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: grpc-lb-forbidden}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
---
apiVersion: v1
kind: Secret
metadata: {name: grpc-lb-forbidden}
`
)

// refused are Applications that their project must refuse, and what Argo CD's
// message names.
var refused = []struct{ name, project, repo, path, revision, namespace, says string }{
	{"refused-repository", "grpc-lb", "git://git.argocd.svc:9418/another.git", "overlays/l4", "main", "grpc-lb-refused", "another.git is not permitted in project"},
	{"refused-namespace", "grpc-lb", repoURL, "overlays/l4", "main", "default", "do not match any of the allowed destinations in project"},
	{"refused-clusterrole", "grpc-lb", repoURL, forbidden, forbidden, "grpc-lb-refused", "ClusterRole is not permitted in project"},
	{"refused-root-namespace", "grpc-lb-root", repoURL, "overlays/l4", "main", "grpc-lb-refused", "do not match any of the allowed destinations in project"},
	{"refused-root-secret", "grpc-lb-root", repoURL, forbidden, forbidden, Namespace, "Secret is not permitted in project"},
}

func projectsRefuse(ctx context.Context, s *instance) (string, error) {
	if err := s.source.write(forbidden+"/kustomization.yaml", "resources: [objects.yaml]\n"); err != nil {
		return "", err
	}
	if err := s.source.write(forbidden+"/objects.yaml", forbiddenObjects); err != nil {
		return "", err
	}
	if err := s.source.commit(ctx, "a ClusterRole and a Secret"); err != nil {
		return "", err
	}
	if _, err := s.source.publish(ctx, forbidden); err != nil {
		return "", err
	}
	begin := time.Now()
	var names []string
	for _, r := range refused {
		a := application(r.name)
		a.Object["spec"] = map[string]any{
			"project":     r.project,
			"source":      map[string]any{"repoURL": r.repo, "path": r.path, "targetRevision": r.revision},
			"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": r.namespace},
			"syncPolicy":  map[string]any{"automated": map[string]any{}},
		}
		s.note("apply Application %s", r.name)
		if err := s.kube.Apply(ctx, a); err != nil {
			return "", err
		}
		names = append(names, r.name)
	}
	if err := s.until(ctx, names, func(a *App) string {
		i := slices.Index(names, a.Metadata.Name)
		if strings.Contains(a.refusal(), refused[i].says) {
			return ""
		}
		return a.problem()
	}); err != nil {
		return "", err
	}
	for _, r := range []Resource{
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole", Name: "grpc-lb-forbidden"},
		{Version: "v1", Kind: "Secret", Namespace: Namespace, Name: "grpc-lb-forbidden"},
		deploymentOf("default", "echo-server"),
		{Version: "v1", Kind: "Namespace", Name: "grpc-lb-refused"},
	} {
		if o, err := s.get(ctx, r); err != nil {
			return "", err
		} else if o != nil {
			return "", refuted("%s %s was made", r.Kind, r.Name)
		}
	}
	return fmt.Sprintf("%d messages after %s, nothing was made", len(names), since(begin)), nil
}

// refusal gathers all that Argo CD says of an Application that it does not sync.
func (a *App) refusal() string {
	var all []string
	for _, c := range a.Status.Conditions {
		all = append(all, c.Message)
	}
	all = append(all, a.Status.OperationState.Message)
	for _, r := range a.Status.OperationState.SyncResult.Resources {
		all = append(all, r.Kind+" "+r.Message)
	}
	return strings.Join(all, "\n")
}

func deleteRefused(ctx context.Context, s *instance) error {
	resource, err := applications(s.kube)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range refused {
		if err := resource.Delete(ctx, r.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	_, err = git(ctx, s.source.dir, "reset", "--quiet", "--hard", "HEAD~1") // main never had it
	return errors.Join(append(errs, err)...)
}

// deletionIsExact deletes an Application with its finalizer and compares the
// identity of everything that the others made.
func deletionIsExact(ctx context.Context, s *instance) (string, error) {
	if err := s.automate(ctx, rootName, false); err != nil {
		return "", err
	}
	others := slices.DeleteFunc(s.able(), func(name string) bool { return name == l4App })
	before, err := s.identities(ctx, others)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.deleteApps(ctx, l4App); err != nil {
		return "", err
	}
	gone := since(begin)
	return fmt.Sprintf("its namespace with all in it was gone after %s; %d objects of the %d others are the same", gone, len(before), len(others)), s.same(ctx, before)
}

// dropped says how a commit drops an Application from argocd/, and an overlay's
// Namespace from what is rendered.
var dropped = []struct{ file, from, to string }{
	{"argocd/kustomization.yaml", "- l4.yaml", ""},
	{"overlays/dns/kustomization.yaml", "patches:", "patches:\n  - patch: '{apiVersion: v1, kind: Namespace, metadata: {name: grpc-lb}, $patch: delete}'"},
}

// droppedStays commits what would delete two namespaces, waits, and then confirms
// one deletion; undoing takes the other back.
func droppedStays(ctx context.Context, s *instance) (string, error) {
	before, err := s.identities(ctx, []string{l4App, dnsApp})
	if err != nil {
		return "", err
	}
	for _, d := range dropped {
		if err := s.source.edit(d.file, d.from, d.to); err != nil {
			return "", err
		}
	}
	if _, err := s.source.push(ctx, "no Application of l4, no Namespace of dns"); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.refresh(ctx, "normal", rootName, dnsApp); err != nil {
		return "", err
	}
	asked := map[string]string{rootName: "Waiting for pruning confirmation of argoproj.io/v1alpha1/Application/" + l4App, dnsApp: "Waiting for pruning confirmation of v1/Namespace/" + dnsApp}
	if err := s.until(ctx, []string{rootName, dnsApp}, func(a *App) string {
		if strings.Contains(a.Status.OperationState.Message, asked[a.Metadata.Name]) {
			return ""
		}
		return a.problem()
	}); err != nil {
		return "", err
	}
	measured := "both syncs ask after " + since(begin)
	select {
	case <-time.After(keptTime):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if err := s.same(ctx, before); err != nil {
		return "", err
	}
	if err := s.confirm(ctx, rootName); err != nil {
		return "", err
	}
	confirmed := time.Now()
	if err := s.gone(ctx, l4App); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d objects are the same %s later; once root's is confirmed, l4 is gone after %s", measured, len(before), keptTime, since(confirmed)), nil
}

// takeBack reverts a commit that syncs wait on, ends these, since none takes a
// newer commit before, and waits until all is as it was.
func takeBack(ctx context.Context, s *instance) error {
	commit, err := s.source.back(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{rootName, dnsApp} {
		if err := s.endSync(ctx, name); err != nil {
			return err
		}
	}
	if err := s.refresh(ctx, "normal", rootName); err != nil {
		return err
	}
	if err := s.until(ctx, s.able(), func(*App) string { return "" }); err != nil { // all are there
		return err
	}
	return s.settled(ctx, commit, append(s.able(), rootName)...)
}

// same refutes unless objects are those that they were.
func (s *instance) same(ctx context.Context, before map[Resource]string) error {
	for r, uid := range before {
		o, err := s.get(ctx, r)
		if err != nil {
			return err
		}
		if uidOf(o) != uid || o.GetDeletionTimestamp() != nil {
			return refuted("%s %s/%s is not the same any more", r.Kind, r.Namespace, r.Name)
		}
	}
	return nil
}

// identities returns the UIDs of what Applications made.
func (s *instance) identities(ctx context.Context, names []string) (map[Resource]string, error) {
	all := map[Resource]string{}
	for _, name := range names {
		a, err := s.app(ctx, name)
		if err != nil {
			return nil, err
		}
		if a == nil {
			return nil, refuted("%s is not there", name)
		}
		objects, err := s.objects(ctx, a)
		if err != nil {
			return nil, err
		}
		for r, o := range objects {
			all[r] = uidOf(o)
		}
	}
	return all, nil
}

func uidOf(o *unstructured.Unstructured) string {
	if o == nil {
		return ""
	}
	return string(o.GetUID())
}

// bringBack lets root make the Application again.
func bringBack(ctx context.Context, s *instance) error {
	if err := s.automate(ctx, rootName, true); err != nil {
		return err
	}
	if err := s.refresh(ctx, "normal", rootName); err != nil {
		return err
	}
	return s.until(ctx, s.able(), (*App).fine)
}
