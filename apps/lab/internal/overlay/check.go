package overlay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rendering is what the checks look at: an overlay's name and its objects.
type rendering struct {
	name    string
	objects []Object
}

// checks are what every overlay must hold to. Each returns its violations,
// without regard to order.
var checks = []func(rendering) []string{
	checkNamespace,
	checkNames,
	checkSelectors,
	checkContainers,
	checkVariables,
	checkPorts,
	checkTarget,
	checkDrain,
	checkPodSecurity,
	checkTokens,
	checkLinkerd,
	checkEnvoy,
	checkProxyless,
}

// Check reports everything that is wrong with the objects that the named
// overlay renders, sorted, or nil.
func Check(name string, objects []Object) error {
	r := rendering{name: name, objects: objects}
	var violations []string
	for _, check := range checks {
		violations = append(violations, check(r)...)
	}
	return join("overlay "+name, violations)
}

// join returns one error that holds all violations, or nil.
func join(subject string, violations []string) error {
	slices.Sort(violations)
	errs := make([]error, len(violations))
	for i, v := range slices.Compact(violations) {
		errs[i] = fmt.Errorf("%s: %s", subject, v)
	}
	return errors.Join(errs...)
}

// flag returns the value of --name=value among a container's arguments, or "".
func flag(args []string, name string) string {
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}
