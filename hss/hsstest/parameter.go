package hsstest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// Names that parameters share.
const (
	fieldNamespace         = "namespace"
	fieldImageName         = "image_name"
	fieldEnterpriseProject = "enterprise_project_id"
)

// parameter checks a value and adds to the query what it asks for. Its error
// says what is allowed.
type parameter[Q any] func(q *Q, value string) error

// parameters are the 27 of the list request.
func parameters() map[string]parameter[query] {
	all := map[string]parameter[query]{
		fieldEnterpriseProject: length(1, 256, func(q *query, v string) { q.enterpriseProject = v }),
		"offset":               number(0, 2_000_000, func(q *query, n int64) { q.offset = int(n) }),
		"limit":                number(1, 200, func(q *query, n int64) { q.limit = int(n) }),
		"sort_key":             oneOf(func(q *query, _ string) { q.sorted = true }, "latest_scan_time"),
		"sort_dir":             oneOf(func(q *query, v string) { q.descending = v == "desc" }, "asc", "desc"),
		"image_size": number(0, 2_147_483_547, func(q *query, n int64) {
			q.filters = append(q.filters, func(i *Image) bool { return i.ImageSize == n })
		}),
		"latest_version": boolean(func(q *query, want bool) {
			if want {
				q.filters = append(q.filters, func(i *Image) bool { return i.LatestVersion != nil && *i.LatestVersion })
			}
		}),
	}
	maps.Copy(all, textParameters())
	maps.Copy(all, enumParameters())
	maps.Copy(all, flagParameters())
	maps.Copy(all, timeParameters())
	return all
}

func textParameters() map[string]parameter[query] {
	text := func(low, high int, get func(*Image) string) parameter[query] {
		return length(low, high, func(q *query, v string) {
			if v != "" {
				q.addText(v, get)
			}
		})
	}
	return map[string]parameter[query]{
		fieldNamespace: length(1, 128, func(q *query, v string) {
			q.namespace = &v
			q.addText(v, func(i *Image) string { return i.Namespace })
		}),
		fieldImageName: length(1, 128, func(q *query, v string) {
			q.imageName = &v
			q.addText(v, func(i *Image) string { return i.ImageName })
		}),
		"image_version": text(1, 64, func(i *Image) string { return i.ImageVersion }),
		"registry_name": text(1, 128, func(i *Image) string { return i.RegistryName }),
		"instance_id":   text(0, 128, func(i *Image) string { return i.InstanceID }),
		"instance_name": text(0, 128, func(i *Image) string { return i.InstanceName }),
	}
}

func enumParameters() map[string]parameter[query] {
	enum := func(get func(*Image) string, values ...string) parameter[query] {
		return oneOf(func(q *query, v string) {
			q.filters = append(q.filters, func(i *Image) bool { return get(i) == v })
		}, values...)
	}
	return map[string]parameter[query]{
		"image_type": enum(func(i *Image) string { return i.ImageType }, inventoryfile.ImageTypes()...),
		// Fewer than a row can have: download_failed and image_oversized can't be asked for.
		"scan_status": enum(func(i *Image) string { return i.ScanStatus },
			"unscan", "success", "scanning", "failed", "waiting_for_scan"),
		"severity_level": enum(func(i *Image) string { return i.SeverityLevel }, inventoryfile.SeverityLevels()...),
	}
}

func flagParameters() map[string]parameter[query] {
	flag := func(get func(*Image) bool) parameter[query] {
		return boolean(func(q *query, want bool) {
			q.filters = append(q.filters, func(i *Image) bool { return get(i) == want })
		})
	}
	return map[string]parameter[query]{
		"has_malicious_file": flag(hasMaliciousFile),
		"has_unsafe_setting": flag(hasUnsafeSetting),
		"has_vul":            flag(hasVul),
		"risky":              flag(risky),
		"is_multarch":        flag(func(i *Image) bool { return i.MultiArch }),
	}
}

func timeParameters() map[string]parameter[query] {
	times := map[string]func(*Image) time.Time{
		"latest_update_time": func(i *Image) time.Time { return i.LatestUpdateTime },
		"latest_scan_time":   func(i *Image) time.Time { return i.LatestScanTime },
		"latest_sync_time":   func(i *Image) time.Time { return i.LatestSyncTime },
	}
	all := map[string]parameter[query]{}
	for name, get := range times {
		within := func(q *query) *timeRange {
			if q.ranges[name] == nil {
				q.ranges[name] = &timeRange{get: get}
			}
			return q.ranges[name]
		}
		all["start_"+name] = number(0, math.MaxInt64, func(q *query, n int64) { within(q).start = &n })
		all["end_"+name] = number(0, math.MaxInt64, func(q *query, n int64) { within(q).end = &n })
	}
	return all
}

// length checks the number of characters.
func length[Q any](low, high int, set func(*Q, string)) parameter[Q] {
	return func(q *Q, value string) error {
		if n := utf8.RuneCountInString(value); n < low || n > high {
			return fmt.Errorf("%d to %d characters", low, high)
		}
		set(q, value)
		return nil
	}
}

// number checks a whole number's range.
func number[Q any](low, high int64, set func(*Q, int64)) parameter[Q] {
	return func(q *Q, value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < low || n > high || strings.HasPrefix(value, "+") {
			return fmt.Errorf("a whole number from %d to %d", low, high)
		}
		set(q, n)
		return nil
	}
}

// oneOf checks that the value is one of some.
func oneOf[Q any](set func(*Q, string), values ...string) parameter[Q] {
	return func(q *Q, value string) error {
		if !slices.Contains(values, value) {
			return errors.New(strings.Join(values, ", "))
		}
		set(q, value)
		return nil
	}
}

// boolean checks that the value is true or false.
func boolean[Q any](set func(*Q, bool)) parameter[Q] {
	return oneOf(func(q *Q, value string) { set(q, value == "true") }, "true", "false")
}
