package check

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// origins are the files that an overlay's objects are made of, outermost first.
type origins struct {
	overlay string // the overlay's kustomization
	all     []origin
}

// origin is one file that makes an object, or changes it.
type origin struct {
	file, object string
	// any says that the file may change every object, generated that the object's
	// name has a hash after it, declared that the object would not be without it.
	any, generated, declared bool
	content                  string
}

func (o origin) touches(object string) bool {
	switch {
	case o.any:
		return true
	case o.generated:
		return strings.HasPrefix(object, o.object+"-")
	case strings.HasPrefix(o.object, "Namespace/"): // each overlay renames it
		return strings.HasPrefix(object, "Namespace/")
	default:
		return object == o.object
	}
}

// has says whether the file may be where a value comes from.
func (o origin) has(value string) bool {
	if o.any { // its content is a value a line
		return strings.Contains(o.content+"\n", "\n"+value+"\n")
	}
	return strings.Contains(o.content, value)
}

// file returns the outermost file that puts a value into an object, else the
// one that declares the object, else the overlay's kustomization.
func (from origins) file(object, value string) string {
	file := from.overlay
	for _, o := range from.all {
		if !o.touches(object) {
			continue
		}
		if value != "" && o.has(value) {
			return o.file
		}
		if o.declared {
			file = o.file
		}
	}
	return file
}

// originsOf reads the files that kustomizations name; what is broken in them is
// not its business.
func originsOf(r *manifest.Repository, overlay string, sources []manifest.Kustomization) origins {
	from := origins{overlay: overlay}
	for _, k := range sources {
		dir := path.Dir(k.File)
		read := func(name string) string {
			content, _ := os.ReadFile(filepath.Join(r.Root(), dir, name))
			return string(content)
		}
		add := func(name, content string, declared bool) {
			for _, object := range objectsIn(content) {
				from.all = append(from.all, origin{file: path.Join(dir, name), object: object, declared: declared, content: content})
			}
		}
		for _, p := range k.Patches {
			content := read(p.Path)
			add(p.Path, content, false)
			if p.Target != nil {
				from.all = append(from.all, origin{file: path.Join(dir, p.Path), object: p.Target.Kind + "/" + p.Target.Name, content: content})
			}
		}
		transforms := []string{"", k.Namespace}
		for _, i := range k.Images {
			transforms = append(transforms, i.Name, i.NewName, i.NewTag, i.Digest)
		}
		from.all = append(from.all, origin{file: k.File, any: true, content: strings.Join(transforms, "\n")})
		for _, g := range k.ConfigMapGenerator {
			for _, name := range g.FileSources {
				name = name[strings.LastIndex(name, "=")+1:] // of key=file
				from.all = append(from.all, origin{file: path.Join(dir, name), object: "ConfigMap/" + g.Name, generated: true, declared: true, content: read(name)})
			}
		}
		for _, name := range k.Resources {
			add(name, read(name), true) // a directory has no content, and sources of its own
		}
	}
	return from
}

// objectsIn names the objects of a file of YAML.
func objectsIn(content string) []string {
	objects, _ := manifest.Unstructured([]byte(content))
	var all []string
	for _, o := range objects {
		if o.GetKind() != "" {
			all = append(all, manifest.Describe(o))
		}
	}
	return all
}
