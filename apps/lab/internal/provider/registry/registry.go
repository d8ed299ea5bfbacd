// Package registry lists the kinds of clusters that the lab can boot. It is the only
// place that names them: a new kind is a package and a line here.
package registry

import (
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// kinds holds those first that are preferred where a machine can have several.
var kinds = []func(d dirs.Dirs, root string) provider.Provider{kind.New, builtin.New}

// All returns the providers of the checkout at root.
func All(d dirs.Dirs, root string) provider.Set {
	var all provider.Set
	for _, makes := range kinds {
		all = append(all, makes(d, root))
	}
	return all
}
