package check

import (
	"fmt"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Rule is one thing that overlays, or Argo CD's files, must hold to.
type Rule struct {
	Name   string // stable: scripts may know it
	Remedy string // what to do about a violation

	// One of these is set; it reports violations in any order.
	tree    func(t *tree, wrong reportFile)
	objects func(r manifest.Rendering, wrong reportObject)
	argocd  func(a *manifest.ArgoCD, wrong reportObject)
}

// reportFile reports a violation in a file, of an object or of "".
type reportFile func(file, object, format string, args ...any)

// reportObject reports what is wrong with an object, or is missing where it is
// nil. The value, unless it is "", tells which of the object's files is at fault.
type reportObject func(o manifest.Named, value, format string, args ...any)

func (r Rule) violation(file, object, overlay, text string) Violation {
	v := Violation{Rule: r.Name, File: file, Object: object, Text: text, Remedy: r.Remedy}
	if overlay != "" {
		v.Overlays = []string{overlay}
	}
	return v
}

// reporter returns what collects the violations of one rule.
func (r Rule) reporter(found *[]Violation, overlay string, from origins) reportObject {
	return func(o manifest.Named, value, format string, args ...any) {
		object := ""
		if o != nil {
			object = manifest.Describe(o)
		}
		*found = append(*found, r.violation(from.file(object, value), object, overlay, fmt.Sprintf(format, args...)))
	}
}

// Rules are all that Check judges by.
var Rules = []Rule{
	{Name: "kustomize-build", Remedy: "mend the file until `kubectl kustomize` renders the overlay", tree: checkBuild},
	{Name: "kustomize-warning", Remedy: "replace the deprecated field by what the warning names", tree: checkWarnings},
	{Name: "kustomize-field", Remedy: "use a patch by name, or labels: with includeTemplates", tree: checkFields},
	{Name: "patch-form", Remedy: "name it <name>.patch.yaml, begin with a comment that says why, and keep it to 15 lines", tree: checkPatches},
	{Name: "entry-effect", Remedy: "name what is rendered, or drop the entry", tree: checkEffects},
	{Name: "image-once", Remedy: "set tag and digest in base's component release only; a renamed image needs a digest of its own", tree: checkImagesOnce},
	{Name: "release", Remedy: "let `lab release` set the tag and the digests of all programs; give an image of your own its own digest, or none", tree: checkRelease},
	{Name: "strict-fields", Remedy: "use a kind and fields that Kubernetes has, spelt as it does", tree: checkStrict},

	{Name: "namespace", Remedy: "set namespace: grpc-lb-<directory> in the overlay's kustomization, and in no other place", objects: checkNamespace},
	{Name: "component", Remedy: "label one Deployment app.kubernetes.io/component: server and one client; let pods, container and Service have its name", objects: checkComponents},
	{Name: "namespace-string", Remedy: "name the overlay's own namespace: kustomize rewrites none inside strings", objects: checkNames},
	{Name: "selector", Remedy: "select by app.kubernetes.io/name alone, with the value of the pods' label", objects: checkSelectors},
	{Name: "image-pinned", Remedy: "give the image a version or a digest", objects: checkImages},
	{Name: "resource-requests", Remedy: "request cpu and memory", objects: checkRequests},
	{Name: "reference", Remedy: "render the object in the same overlay, or mend the name", objects: checkReferences},
	{Name: "variable", Remedy: "set the variable in env:, above its use", objects: checkVariables},
	{Name: "service-port", Remedy: "name the port grpc, with appProtocol kubernetes.io/h2c", objects: checkServicePorts},
	{Name: "service-target-port", Remedy: "name a port of the pods that the Service selects", objects: checkTargetPorts},
	{Name: "probe", Remedy: "give a container that listens a readiness and a liveness probe", objects: checkProbes},
	{Name: "probe-port", Remedy: "probe a port of the container's pod", objects: checkProbePorts},
	{Name: "client-target", Remedy: "name a Service, or a hostPort, that the overlay renders", objects: checkTarget},
	{Name: "service-kind", Remedy: "add the component headless for a client that balances itself, and for no other", objects: checkServiceKind},
	{Name: "drain-grace", Remedy: "let terminationGracePeriodSeconds exceed --drain-delay plus --drain-timeout", objects: checkDrain},
	{Name: "progress-deadline", Remedy: "set progressDeadlineSeconds: 60, or what the slowest start takes", objects: checkDeadline},
	{Name: "pod-security", Remedy: "keep to restricted, and label the Namespace with the least level that admits the pods", objects: checkPodSecurity},
	{Name: "rbac", Remedy: "grant what the strategy uses, to the one workload that uses it", objects: checkTokens},
	{Name: "linkerd-config", Remedy: "let l5d/config.yaml fit the DaemonSet and the Service", objects: checkLinkerd},
	{Name: "envoy-config", Remedy: "let envoy/envoy.yaml fit the Deployment and the Services", objects: checkEnvoy},
	{Name: "envoy-drain", Remedy: "drain gracefully in preStop, sleep longer than --drain-time-s, and grant more than that", objects: checkEnvoyDrain},
	{Name: "xds-injection", Remedy: "inject the gRPC agent into clients with an xds target, and into nothing else", objects: checkProxyless},

	{Name: "prune-confirm", Remedy: "annotate the Namespace with argocd.argoproj.io/sync-options: Prune=confirm", objects: checkPruning},
	{Name: "argocd-strict", Remedy: "use Applications and one AppProject, with fields spelt as Argo CD does", argocd: checkArgoStrict},
	{Name: "argocd-applications", Remedy: "keep one Application grpc-lb-<directory> for each overlay", argocd: checkCorrespondence},
	{Name: "argocd-application", Remedy: "give the Application what all of them have", argocd: checkApplications},
	{Name: "argocd-project", Remedy: "allow this repository to reach the namespaces grpc-lb-*, and no other", argocd: checkProject},
	{Name: "argocd-root", Remedy: "let root.yaml have an AppProject of its own, for Applications and AppProjects of this repository in Argo CD's namespace", argocd: checkRoot},
	{Name: "argocd-kinds", Remedy: "list exactly the kinds that the overlays render", argocd: checkKinds},
}
