//go:build linux

package nodeimage

// What only tests outside of the package reach for.
var (
	Configure      = configure
	DropResources  = dropResources
	LacksResources = lacksResources
	ContentKey     = contentKey
)
