package check

import (
	"cmp"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

var releaseRule = Rule{Name: "release", Remedy: "let `lab release` set the tag and the digests of all programs; give an image of your own its own digest, or none", tree: checkRelease}

// checkRelease wants all programs of a release to have its tag, and every digest
// to be under the name and the tag that it was released with.
func checkRelease(t *tree, wrong reportFile) {
	record, err := release.ReadRecord(t.repository.Root())
	if err != nil {
		wrong(release.Digests, "", "%s", manifest.OneLine(err))
		return
	}
	var released []types.Image
	for _, k := range t.sources {
		if k.File == release.Component {
			released = k.Images
		}
	}
	for _, image := range released {
		if first := released[0]; image.NewTag != first.NewTag {
			wrong(release.Component, "", "image %s has tag %q, %s has %q", image.Name, image.NewTag, first.Name, first.NewTag)
		}
		if first := released[0]; path.Dir(image.NewName) != path.Dir(first.NewName) {
			wrong(release.Component, "", "image %s comes from %s, %s from %s", image.Name, path.Dir(image.NewName), first.Name, path.Dir(first.NewName))
		}
	}
	for _, w := range manifest.Workloads(t.Objects) {
		for _, c := range w.Containers() {
			name, tag, digest := manifest.SplitReference(c.Image)
			ours := slices.ContainsFunc(released, func(i types.Image) bool { return i.NewName == name })
			if problem := record.Problem(name, tag, digest, ours); problem != "" {
				object := manifest.Describe(w.Object)
				wrong(t.origins.file(object, cmp.Or(digest, tag)), object, "container %s: image %s %s", c.Name, c.Image, problem)
			}
		}
	}
}
