// Package inventoryfile reads inventory files, which list what HSS knows of images. A [Client] answers from one in place
// of an hss.Client; package hsstest serves one over HTTP.
package inventoryfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// maxBytes bounds an inventory file.
const maxBytes = 64 << 20

// File is the content of an inventory file.
type File struct {
	Images      []Image
	Registries  []Registry
	Credentials []Credential
	Tokens      []string
	Projects    []string
	IAMProjects []IAMProject
	Faults      []Fault
}

// Registry is a registry that HSS knows: RegistryInfo of the API.
type Registry struct {
	// ID and Type identify it in a synchronization.
	ID   string `json:"id"`
	Name string `json:"registry_name,omitempty"`
	// Type is one of [RegistryTypes].
	Type string `json:"registry_type"`
	// Address is the host of its images, with an optional port.
	Address  string `json:"registry_addr,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	// Status is one of [RegistryStatuses]; empty: success.
	Status         string    `json:"status"`
	FailReason     string    `json:"fail_reason,omitempty"`
	LatestSyncTime time.Time `json:"-"`
	// ProjectID is the project that sees it; empty: every project.
	ProjectID string `json:"project_id,omitempty"`
}

// IAMProject is a project as IAM lists it, named after its region.
type IAMProject struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Credential is a key pair that a server accepts.
type Credential struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	// SecurityToken makes it a temporary credential: requests must send and sign it as X-Security-Token.
	SecurityToken string `json:"security_token"`
	// Projects are those that it may read; empty: all.
	Projects []string `json:"projects"`
}

// String names the credential without its secrets.
func (c Credential) String() string { return "credential " + c.AccessKey }

// GoString names the credential without its secrets.
func (c Credential) GoString() string { return c.String() }

// LogValue names the credential without its secrets.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Fault is something that goes wrong at a server. Its kinds, and the fields that only one of them uses:
//
//	cut, empty, garbage, hang, no_data_list, reset
//	error     status (default 200): an error of HSS in the body
//	html      status (default 502): a load balancer's page
//	huge      bytes (default 1 GiB)
//	slow      bytes (default 1) at a time with a pause (default 100ms)
//	status    status (default 503): an error of the API gateway
//	throttle  retry_after: seconds in quotes, or a date; default: not sent
//
// Every kind takes times (default 1; 0: forever), and limits: endpoint, namespace and image_name of the request.
type Fault struct {
	Kind       string        `json:"kind"`
	Status     int           `json:"status"`
	Times      *int          `json:"times"`
	RetryAfter string        `json:"retry_after"`
	Bytes      int64         `json:"bytes"`
	Pause      time.Duration `json:"-"`
	Namespace  string        `json:"namespace"`
	ImageName  string        `json:"image_name"`
	Endpoint   string        `json:"endpoint"`
}

// document is the file before its rows are decoded.
type document struct {
	Images      []json.RawMessage `json:"images"`
	Registries  []json.RawMessage `json:"registries"`
	Credentials []json.RawMessage `json:"credentials"`
	Tokens      []string          `json:"tokens"`
	Projects    []string          `json:"projects"`
	IAMProjects []json.RawMessage `json:"iam_projects"`
	Faults      []json.RawMessage `json:"faults"`
}

// The rows as they are in a file, where they differ from the types above.
type (
	imageRow struct {
		Image

		Scannable        *bool           `json:"scannable"`
		MultiArch        *bool           `json:"is_multiple_arch"`
		LatestUpdateTime json.RawMessage `json:"latest_update_time"`
		LatestScanTime   json.RawMessage `json:"latest_scan_time"`
		LatestSyncTime   json.RawMessage `json:"latest_sync_time"`
	}
	registryRow struct {
		Registry

		LatestSyncTime json.RawMessage `json:"latest_sync_time"`
	}
	faultRow struct {
		Fault

		Pause string `json:"pause"`
	}
)

// Load reads an inventory file; see [Parse].
func Load(path string, start time.Time) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("inventory %s: has more than %d bytes", path, maxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	file, err := Parse(data, start)
	if err != nil {
		return nil, fmt.Errorf("inventory %s: %w", path, err)
	}
	return file, nil
}

// Parse reads an inventory: one YAML document or JSON of at most 64 MiB. Unknown and repeated fields are errors. The
// error lists everything that is wrong, with the row's number counted from 1, the field and what is allowed.
//
//	images:                    # the rows; all fields of the API are allowed
//	- namespace: prod
//	  image_name: app          # required
//	  image_version: "1.0"     # in quotes, or YAML reads a number
//	  scan_status: success     # default: unscan
//	  severity_level: Low
//	  vul_num: 0
//	  latest_scan_time: -2h    # before start; or RFC 3339; or ms since the epoch
//	  association_images:      # names default to the row's
//	  - {image_digest: "sha256:…", scan_status: success, vul_num: 7}
//	  vulnerabilities:         # of the row, or of an architecture
//	  - {vul_id: CVE-2024-3094, repair_necessity: immediate_repair, app_name: xz, version: "5.6.0", solution: update}
//	  enterprise_project_id: "0"   # default: "0"
//	  project_id: p1               # default: every project
//	  hidden: true             # until its registry is synchronized
//	  scan_outcome: {scan_status: success, severity_level: Low, vul_num: 3}
//	registries:                # of which id and registry_type are required
//	- {id: r1, registry_type: SwrPrivate, registry_addr: swr.example.com, status: success}
//	projects: [p1]             # default: every project exists
//	iam_projects:              # default: those of projects, in every region; or that of the server
//	- {id: p1, name: cn-north-4} # the name is that of the region
//	credentials:               # default: that of the server
//	- {access_key: AK, secret_key: SK, security_token: T, projects: [p1]}
//	tokens: [t1]               # values of X-Auth-Token
//	faults:                    # in order; see Fault
//	- {kind: status, status: 503, times: 2, namespace: prod, image_name: app, endpoint: images}
//
// Further defaults: id is assigned, image_type is private_image, registry_type and registry_name follow from the type,
// image_id from the digest (or is made up, for a row with vulnerabilities and no digest), scannable is true,
// is_multiple_arch is whether there are association_images, vul_num is the number of vulnerabilities if any are given.
// A time before or after start has a sign and the units d, h, m and s: -60d is sixty days before start.
func Parse(data []byte, start time.Time) (*File, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxBytes)
	}
	data, err := toJSON(data)
	if err != nil {
		return nil, err
	}
	var d document
	if err := decode("document", data, &d); err != nil {
		return nil, err
	}
	file := &File{Tokens: d.Tokens, Projects: d.Projects}
	var problems []error
	file.Images = rows("images", d.Images, &problems, func(r *imageRow) (Image, error) { return r.image(start) })
	file.Registries = rows("registries", d.Registries, &problems, func(r *registryRow) (Registry, error) { return r.registry(start) })
	file.Credentials = rows("credentials", d.Credentials, &problems, (*Credential).credential)
	file.IAMProjects = rows("iam_projects", d.IAMProjects, &problems, (*IAMProject).project)
	file.Faults = rows("faults", d.Faults, &problems, (*faultRow).fault)
	ids := map[int64]int{}
	for i := range file.Images {
		id := file.Images[i].ID
		if first, twice := ids[id]; twice && id != 0 {
			problems = append(problems, fmt.Errorf(`images row %d: field "id" is %d, as in row %d`, i+1, id, first))
		}
		ids[id] = i + 1
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return file, nil
}

// toJSON turns one YAML document, or JSON, into JSON.
func toJSON(data []byte) ([]byte, error) {
	if json.Valid(data) {
		return data, nil
	}
	content := false
	for line := range bytes.Lines(data) {
		text := strings.TrimRight(string(line), " \t\r\n")
		marker := text == "---" || strings.HasPrefix(text, "--- ")
		if marker && content {
			return nil, errors.New("more than one YAML document, allowed is one")
		}
		content = content || !marker && text != "" && text[0] != '#' && text[0] != '%'
	}
	converted, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("not YAML and not JSON: %w", err)
	}
	return converted, nil
}

// rows decodes and completes every row of a list.
func rows[R, T any](name string, list []json.RawMessage, problems *[]error, finish func(*R) (T, error)) []T {
	var all []T
	for i, raw := range list {
		where := fmt.Sprintf("%s row %d", name, i+1)
		var row R
		if err := decode(where, raw, &row); err != nil {
			*problems = append(*problems, err)
			continue
		}
		finished, err := finish(&row)
		if err != nil {
			*problems = append(*problems, fmt.Errorf("%s: %w", where, err))
		}
		all = append(all, finished)
	}
	return all
}

// decode reads an object. Errors never show values, which may be secrets.
func decode(where string, data []byte, into any) error {
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] != '{' {
		return fmt.Errorf("%s is not an object with fields", where)
	}
	problems, err := kjson.UnmarshalStrict(data, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		// The error counts the embedded struct of a row as a field.
		field := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(wrong.Field, "Image."), "Registry."), "Fault.")
		err = fmt.Errorf("field %q is of type %s, allowed: %s", field, wrong.Value, allowed(wrong.Type.Kind()))
	}
	if err != nil {
		problems = append(problems, err)
	}
	for i := range problems {
		problems[i] = fmt.Errorf("%s: %w", where, problems[i])
	}
	return errors.Join(problems...)
}

func allowed(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return "a text (in quotes, if YAML reads a number or true or false)"
	case reflect.Bool:
		return "true, false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object with fields"
	}
	return "a whole number"
}

// parseTime reads milliseconds, RFC 3339, or an age such as -2h.
func parseTime(field string, raw json.RawMessage, start time.Time) (time.Time, error) {
	value := strings.Trim(string(raw), `"`)
	if value == "" || value == "null" || value == "0" {
		return time.Time{}, nil
	}
	if value[0] == '-' || value[0] == '+' {
		if age, err := parseAge(value); err == nil {
			return start.Add(age).Truncate(time.Millisecond), nil
		}
	}
	if ms, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.UnixMilli(int64(ms)).UTC(), nil
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil && at.UnixMilli() > 0 {
		return at.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("field %q is %.80q, allowed: milliseconds since 1970, a time such as 2026-01-31T12:00:00Z, or an age such as -2h or -60d",
		field, value)
}

// parseAge reads a duration with a sign, whose unit may be days.
func parseAge(value string) (time.Duration, error) {
	days, ok := strings.CutSuffix(value, "d")
	if !ok {
		return time.ParseDuration(value)
	}
	const most = 36500
	n, err := strconv.Atoi(days)
	if err != nil || n < -most || n > most {
		return 0, fmt.Errorf("allowed are %d days at most", most)
	}
	return time.Duration(n) * 24 * time.Hour, nil
}
