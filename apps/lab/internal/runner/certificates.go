package runner

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
)

// Certificates are those of one overlay's pods. Its Secret holds the one that is in use.
type Certificates struct {
	// Authority signs them.
	Authority *pki.Authority
	// Names are the DNS names that they are for: those of the overlay's Services.
	Names []string
}

// certify adds the Secret that the overlay's pods mount and that nothing renders, with a
// certificate of an authority of this run.
func (o *Overlay) certify() error {
	if !mounts(o.Committed, manifest.TLSSecret) || slices.ContainsFunc(o.Objects, bringsCertificates) {
		return nil
	}
	authority, err := pki.NewAuthority("grpc-lb lab " + o.Name)
	if err != nil {
		return err
	}
	c := &Certificates{Authority: authority}
	for _, object := range o.Objects {
		if object.GetKind() == "Service" {
			name := object.GetName()
			c.Names = append(c.Names, name, name+"."+o.Namespace, name+"."+o.Namespace+".svc", name+"."+o.Namespace+".svc.cluster.local")
		}
	}
	issued, err := authority.Issue(pki.Valid(), c.Names...)
	if err != nil {
		return err
	}
	files, err := issued.Files(authority)
	if err != nil {
		return err
	}
	o.Certificates, o.Objects = c, append(o.Objects, files.Secret(o.Namespace, manifest.TLSSecret))
	return nil
}

// mounts tells whether a pod of the objects mounts the Secret.
func mounts(objects []manifest.Object, secret string) bool {
	return slices.ContainsFunc(manifest.Workloads(objects), func(w manifest.Workload) bool {
		return slices.ContainsFunc(w.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == secret })
	})
}

// bringsCertificates tells whether the object is the Secret, or lets cert-manager make it.
func bringsCertificates(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "Secret":
		return o.GetName() == manifest.TLSSecret
	case "Certificate":
		name, _, _ := unstructured.NestedString(o.Object, "spec", "secretName")
		return name == manifest.TLSSecret
	}
	return false
}

// PutSecret writes the files into the named Secret of the strategy's namespace.
func (env *Environment) PutSecret(ctx context.Context, name string, files pki.Files) error {
	if err := env.Kube.Apply(ctx, files.Secret(env.Namespace, name)); err != nil {
		return fmt.Errorf("writing the certificates: %w", err)
	}
	return nil
}
