package check

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var kustomizeBuildRule = Rule{Name: "kustomize-build", Remedy: "correct the file until `kubectl kustomize` renders the overlay", tree: checkBuild}

// checkBuild wants kustomize to render the overlay.
func checkBuild(t *tree, wrong reportFile) { t.reportBroken(wrong, false) }

var kustomizeWarningRule = Rule{Name: "kustomize-warning", Remedy: "replace the deprecated field with the one that the warning names", tree: checkWarnings}

// checkWarnings wants kustomize to warn of nothing.
func checkWarnings(t *tree, wrong reportFile) { t.reportBroken(wrong, true) }

func (t *tree) reportBroken(wrong reportFile, warnings bool) {
	for _, err := range t.broken {
		file, warning := t.origins.overlay, false
		if e, ok := errors.AsType[*manifest.FileError](err); ok {
			file, warning = e.File, e.Warning
		}
		if warning == warnings {
			wrong(file, "", "%s", strings.TrimPrefix(err.Error(), file+": "))
		}
	}
}

var kustomizeFieldRule = Rule{Name: "kustomize-field", Remedy: "use a patch by name, or labels: with includeTemplates", tree: checkFields}

// checkFields wants no field that kustomize forgives and that goes wrong later.
func checkFields(t *tree, wrong reportFile) {
	for _, k := range t.sources {
		refuse := func(is bool, what string) {
			if is {
				wrong(k.File, "", "%s", what)
			}
		}
		refuse(k.NamePrefix != "" || k.NameSuffix != "", "namePrefix and nameSuffix rename the Service, not the client's target")
		refuse(len(k.CommonAnnotations) > 0, "commonAnnotations annotate every object")
		refuse(k.GeneratorOptions != nil && k.GeneratorOptions.DisableNameSuffixHash, "without the hash, a changed ConfigMap does not restart the pods")
		for _, label := range k.Labels {
			refuse(label.IncludeSelectors, "labels with includeSelectors change selectors")
		}
		for _, p := range k.Patches {
			// A JSON patch needs one; checkEffects finds what matches nothing.
			refuse(p.Target != nil && !strings.HasSuffix(p.Path, ".json.patch.yaml"), "kustomize says nothing if the target: of a patch matches nothing")
		}
		for _, resource := range k.Resources {
			refuse(strings.HasSuffix(resource, ".patch.yaml"), "a patch is not a resource: "+resource)
		}
	}
}

var patchFormRule = Rule{Name: "patch-form", Remedy: "name the file <name>.patch.yaml, begin it with a comment that says why, and keep it to 15 lines", tree: checkPatches}

// checkPatches wants patches that a reader knows by their name, and short ones
// that say why.
func checkPatches(t *tree, wrong reportFile) {
	for _, k := range t.sources {
		for _, p := range k.Patches {
			file := path.Join(path.Dir(k.File), p.Path)
			content, err := t.repository.Read(file)
			if p.Path == "" || err != nil {
				continue // checkBuild says so
			}
			first, _, _ := strings.Cut(string(content), "\n")
			if len(first) < len("# Why.") || first[0] != '#' {
				wrong(file, "", "the first line does not say why")
			}
			if lines := bytes.Count(content, []byte("\n")); lines > 15 {
				wrong(file, "", "%d lines, expected at most 15", lines)
			}
			if !strings.HasSuffix(p.Path, ".patch.yaml") {
				wrong(file, "", "a patch's file is named <name>.patch.yaml")
			}
		}
	}
}

var entryEffectRule = Rule{Name: "entry-effect", Remedy: "name something that is rendered, or remove the entry", tree: checkEffects}

// checkEffects wants every patch and every images: entry to change what is
// rendered: kustomize says nothing of one that does not.
func checkEffects(t *tree, wrong reportFile) {
	if t.rendered == nil {
		return
	}
	for _, k := range t.sources {
		for i, p := range k.Patches {
			without := k.Kustomization
			without.Patches = slices.Delete(slices.Clone(k.Patches), i, i+1)
			if !t.hasEffect(k, fmt.Sprintf("patch %d", i), without) {
				wrong(k.File, "", "patch %s changes nothing", patchName(p))
			}
		}
		for i, image := range k.Images {
			without := k.Kustomization
			without.Images = slices.Delete(slices.Clone(k.Images), i, i+1)
			entry := "image " + image.Name
			if !t.hasEffect(k, entry, without) && (k.Kind != types.ComponentKind || !t.hasEffectAnywhere(k, entry, without)) {
				wrong(k.File, "", "image %s changes nothing", image.Name)
			}
		}
	}
}

// patchName names a patch by its file and its target.
func patchName(p types.Patch) string {
	name := cmp.Or(p.Path, "in the kustomization")
	if p.Target != nil {
		name += fmt.Sprintf(" of target %s/%s", cmp.Or(p.Target.Kind, "*"), cmp.Or(p.Target.Name, "*"))
	}
	return name
}

// hasEffect renders without an entry. A kustomization is judged by what itself
// renders, once; a component, which renders nothing, by each overlay with it.
func (t *tree) hasEffect(k manifest.Kustomization, entry string, without types.Kustomization) bool {
	key, from, full := k.File+" "+entry, t.from, t.rendered
	dir := path.Dir(k.File)
	if k.Kind == types.ComponentKind {
		key += " in " + t.Name
	} else if dir != t.from.Dir || t.from.IsVariant() {
		from, full = manifest.Plain(dir), nil
	}
	effect, ok := t.effects[key]
	if !ok {
		effect = differs(t.repository, from, full, k.File, without)
		t.effects[key] = effect
	}
	return effect
}

// hasEffectAnywhere says whether an image of a component is one of any overlay's,
// or of what an overlay is made of: base's release serves them all.
func (t *tree) hasEffectAnywhere(k manifest.Kustomization, entry string, without types.Kustomization) bool {
	key := k.File + " " + entry
	effect, ok := t.effects[key]
	if ok {
		return effect
	}
	overlays, _ := t.repository.List()
	var dirs []string
	for _, name := range overlays {
		sources, _ := t.repository.AllSources(path.Join("overlays", name))
		if !slices.ContainsFunc(sources, func(s manifest.Kustomization) bool { return s.File == k.File }) {
			continue
		}
		for _, s := range sources {
			if dir := path.Dir(s.File); s.Kind != types.ComponentKind && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	effect = slices.ContainsFunc(dirs, func(dir string) bool {
		from := manifest.Plain(dir)
		return differs(t.repository, from, nil, k.File, without)
	})
	t.effects[key] = effect
	return effect
}

// differs says whether a kustomization with other content changes what is
// rendered; full is the manifest.Rendering with its own, or nil.
func differs(r *manifest.Repository, from manifest.Composition, full []byte, file string, other types.Kustomization) bool {
	content, err := yaml.Marshal(other)
	if err != nil {
		return true
	}
	changed, err := r.RenderComposition(from, map[string][]byte{file: content})
	if err == nil && full == nil {
		full, err = r.RenderComposition(from, nil)
	}
	return err != nil || !bytes.Equal(full, changed) // what cannot even be rendered without it needs it
}

var unlistedFileRule = Rule{Name: "unlisted-file", Remedy: "name the file in the kustomization, or remove it", tree: checkUnlisted}

// checkUnlisted wants each YAML file in the directory of a kustomization to be part of
// something: kustomize ignores a file that nothing names.
func checkUnlisted(t *tree, wrong reportFile) {
	named := map[string]bool{}
	var dirs []string
	for _, k := range t.sources {
		dir := path.Dir(k.File)
		dirs = append(dirs, dir)
		named[k.File] = true
		for _, entry := range entriesOf(k.Kustomization) {
			named[path.Join(dir, entry)] = true
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		root := filepath.Join(t.repository.Root(), dir)
		_ = filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // kustomize says what it cannot read
			}
			below, _ := filepath.Rel(root, full)
			file := path.Join(dir, filepath.ToSlash(below))
			if entry.IsDir() {
				if _, err := t.repository.KustomizationFile(file); below != "." && err == nil {
					return fs.SkipDir // it has a kustomization of its own
				}
				return nil
			}
			if ext := path.Ext(file); (ext == ".yaml" || ext == ".yml") && !named[file] && t.isManifest(file) {
				wrong(file, "", "no kustomization names it")
			}
			return nil
		})
	}
}

// isManifest says whether a file holds objects, or a patch.
func (t *tree) isManifest(file string) bool {
	content, err := t.repository.Read(file)
	return err == nil && (len(objectsIn(string(content))) > 0 || strings.HasSuffix(file, ".patch.yaml"))
}

// entriesOf returns the files that a kustomization names.
func entriesOf(k types.Kustomization) []string {
	all := slices.Concat(k.Resources, k.Components, k.Crds, k.Configurations, k.Generators, k.Transformers, k.Validators)
	for _, p := range k.Patches {
		all = append(all, p.Path)
	}
	for _, r := range k.Replacements {
		all = append(all, r.Path)
	}
	for _, g := range k.ConfigMapGenerator {
		all = append(all, generatedFrom(g.KvPairSources)...)
	}
	for _, g := range k.SecretGenerator {
		all = append(all, generatedFrom(g.KvPairSources)...)
	}
	return all
}

func generatedFrom(s types.KvPairSources) []string {
	var all []string
	for _, file := range slices.Concat(s.FileSources, s.EnvSources) {
		all = append(all, file[strings.LastIndex(file, "=")+1:]) // of key=file
	}
	return append(all, s.EnvSource)
}

var imageOnceRule = Rule{Name: "image-once", Remedy: "set tag and digest only in base/components/release; give a renamed image its own digest", tree: checkImagesOnce}

// checkImagesOnce wants one place to set an image's version, and no image with
// the digest of another.
func checkImagesOnce(t *tree, wrong reportFile) {
	type place struct{ file, digest string }
	set := map[string]place{}
	for _, k := range slices.Backward(t.sources) { // innermost first
		for _, image := range k.Images {
			name := cmp.Or(image.NewName, image.Name)
			if before := set[image.Name]; name != image.Name && image.Digest == "" && before.digest != "" {
				wrong(k.File, "", "image %s would keep the digest that %s sets for %s", name, before.file, image.Name)
			}
			if image.NewTag != "" || image.Digest != "" {
				if at, ok := set[name]; ok && at.file != k.File { // a component may be there twice
					wrong(k.File, "", "image %s: its version is set in %s already", name, at.file)
				}
				set[name] = place{k.File, image.Digest}
			}
		}
	}
}

var strictFieldsRule = Rule{Name: "strict-fields", Remedy: "use a kind and fields that Kubernetes has, in its spelling", tree: checkStrict}

// checkStrict wants kinds and fields that client-go knows, in its spelling.
func checkStrict(t *tree, wrong reportFile) {
	for _, e := range t.undecoded {
		wrong(t.origins.file(e.Object, ""), e.Object, "%s", manifest.OneLine(e.Err))
	}
}
