package balance

import (
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// View is what tells which strategy an overlay follows.
type View struct {
	// Scheme is that of the client's target.
	Scheme string
	// Service is the name of the Service to which the target leads, or "".
	Service string
	// NodeProxy is the name of the workload whose port of the client's own node is the
	// target, or "".
	NodeProxy string
	// Gateway is the name of the Gateway whose proxy is the target, or "".
	Gateway string
	// UsesAll says that the client's policy uses all addresses of the target.
	UsesAll bool
	// Mesh is what a mesh adds to the client's pods.
	Mesh Mesh
	// Server is the name of the server's Deployment and Service.
	Server string
	// MaxConnectionAge is the server's --max-connection-age, or "".
	MaxConnectionAge string
	// TLS says that the server has a certificate.
	TLS bool
}

// View returns what tells which strategy the objects follow. The client and the server
// are the Deployments that have the labels of an overlay.
func (c *Cluster) View() View {
	server, _ := manifest.Component(c.objects, manifest.Server)
	program := manifest.MainContainer(server.Spec.Template)
	v := View{
		Server: server.Name, MaxConnectionAge: manifest.Setting(program, "max-connection-age"), TLS: manifest.Setting(program, "tls-cert") != "",
	}
	clients := c.Clients()
	i := slices.IndexFunc(clients, func(client Client) bool { return client.Marked })
	if i < 0 {
		return v
	}
	client := clients[i]
	v.Scheme, v.UsesAll, v.Mesh = client.Target.Scheme, client.Policy.UsesAll(), client.Mesh
	if client.Problem != "" {
		return v
	}
	e := c.lead(client.Target, client.Pods)
	if e.service != nil {
		v.Service = e.service.Name
	}
	if e.node.Object != nil {
		v.NodeProxy = e.node.GetName()
	}
	if e.gateway != nil {
		v.Gateway = e.gateway.Name
	}
	return v
}

// Dials says whether the client itself connects to the Service, and no mesh chooses
// for it.
func (v View) Dials(service string) bool {
	return v.byName() && v.Mesh == NoMesh && v.Service == service
}

// Meshed says whether a sidecar chooses for the client.
func (v View) Meshed() bool { return v.byName() && v.Mesh == IstioSidecar }

func (v View) byName() bool {
	return v.Service != "" && (v.Scheme == "dns" || v.Scheme == "passthrough")
}

// ViewOf returns the view of an overlay or a variant.
func ViewOf(r *manifest.Repository, name string) (View, error) {
	rendered, err := r.Render(name)
	if err != nil {
		return View{}, err
	}
	objects, _, err := manifest.DecodeAll(rendered)
	if err != nil {
		return View{}, err
	}
	return New(objects).View(), nil
}
