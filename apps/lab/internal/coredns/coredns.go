// Package coredns reads the configuration of a cluster's CoreDNS.
package coredns

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// What CoreDNS takes where its Corefile does not say.
const (
	defaultTTL   = 5 * time.Second
	defaultCache = time.Hour
)

// Read reads from CoreDNS's configuration how long a client may keep a record of
// the cluster and how long CoreDNS itself does. Neither is known where this user
// may not read it, where another DNS serves the cluster, or where a cache on the
// nodes stands before it.
func Read(ctx context.Context, client kubernetes.Interface) (ttl, cache time.Duration, known bool) {
	maps := client.CoreV1().ConfigMaps("kube-system")
	if _, err := maps.Get(ctx, "node-local-dns", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return 0, 0, false
	}
	config, err := maps.Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return 0, 0, false
	}
	return parseCorefile(config.Data["Corefile"])
}

// directive is a line of a Corefile and the block that follows it.
type directive struct {
	words []string
	block []directive
}

// parseCorefile finds the server that answers for the cluster's own zone.
func parseCorefile(text string) (ttl, cache time.Duration, known bool) {
	var lines [][]string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, words)
		}
	}
	servers, _ := directives(lines)
	for _, s := range servers {
		zone, ttl, ok := kubernetesPlugin(s.block)
		if ok {
			return ttl, min(ttl, cachePlugin(s.block, zone)), true
		}
	}
	return 0, 0, false
}

// directives reads up to the end of a block.
func directives(lines [][]string) (all []directive, rest [][]string) {
	for len(lines) > 0 {
		words := lines[0]
		lines = lines[1:]
		if words[0] == "}" {
			return all, lines
		}
		d := directive{words: words}
		if last := len(words) - 1; words[last] == "{" {
			d.words = words[:last]
			d.block, lines = directives(lines)
		}
		if len(d.words) > 0 {
			all = append(all, d)
		}
	}
	return all, nil
}

// kubernetesPlugin returns the cluster's zone and the TTL of its records.
func kubernetesPlugin(block []directive) (zone string, ttl time.Duration, ok bool) {
	for _, d := range block {
		if d.words[0] != "kubernetes" {
			continue
		}
		zones := slices.DeleteFunc(slices.Clone(d.words[1:]), func(z string) bool { return strings.HasSuffix(strings.TrimSuffix(z, "."), ".arpa") })
		if len(zones) == 0 {
			return "", 0, false
		}
		ttl = defaultTTL
		for _, option := range d.block {
			if option.words[0] == "ttl" && len(option.words) == 2 {
				if ttl, ok = seconds(option.words[1]); !ok {
					return "", 0, false
				}
			}
		}
		return strings.TrimSuffix(zones[0], "."), ttl, true
	}
	return "", 0, false
}

// cachePlugin returns how long answers about the zone are kept.
func cachePlugin(block []directive, zone string) time.Duration {
	for _, d := range block {
		if d.words[0] != "cache" {
			continue
		}
		kept, zones := defaultCache, d.words[1:]
		if len(zones) > 0 {
			if given, ok := seconds(zones[0]); ok {
				kept, zones = given, zones[1:]
			}
		}
		if len(zones) > 0 && !covers(zones, zone) {
			continue
		}
		for _, option := range d.block {
			switch words := option.words; {
			case words[0] == "success" && len(words) > 2:
				if given, ok := seconds(words[2]); ok {
					kept = given
				}
			case words[0] == "disable" && len(words) > 1 && words[1] == "success" && (len(words) == 2 || covers(words[2:], zone)):
				return 0
			}
		}
		return kept
	}
	return 0
}

// covers tells whether one of the zones holds the zone.
func covers(zones []string, zone string) bool {
	return slices.ContainsFunc(zones, func(z string) bool {
		z = strings.TrimSuffix(z, ".")
		return z == "" || z == zone || strings.HasSuffix(zone, "."+z)
	})
}

func seconds(text string) (time.Duration, bool) {
	n, err := strconv.Atoi(text)
	return time.Duration(n) * time.Second, err == nil && n >= 0
}
