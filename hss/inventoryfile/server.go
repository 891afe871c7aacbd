package inventoryfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// maxSecretLength is the longest X-Auth-Token that HSS takes.
const maxSecretLength = 32768

// Registry is a registry that HSS knows: RegistryInfo of the API.
type Registry struct {
	// ID and Type name it in a synchronisation.
	ID   string
	Name string
	// Type is SwrPrivate, SwrShared, SwrEnterprise, Harbor, Jfrog or Other.
	Type string
	// Address is the host, perhaps with a port, of its images.
	Address  string
	Protocol string
	// Status is success, fail or accessing; empty: success.
	Status         string
	FailReason     string
	LatestSyncTime time.Time
	// ProjectID is the project that sees it; empty: every project.
	ProjectID string
}

func registryFields(start time.Time) map[string]setter[Registry] {
	type row = Registry
	return map[string]setter[row]{
		"id":               text(1, 64, func(r *row) *string { return &r.ID }),
		"registry_name":    text(1, 128, func(r *row) *string { return &r.Name }),
		"registry_type":    choice(RegistryTypes(), func(r *row) *string { return &r.Type }),
		"registry_addr":    text(1, 256, func(r *row) *string { return &r.Address }),
		"protocol":         choice([]string{"http", "https"}, func(r *row) *string { return &r.Protocol }),
		"status":           choice(RegistryStatuses(), func(r *row) *string { return &r.Status }),
		"fail_reason":      text(1, 128, func(r *row) *string { return &r.FailReason }),
		"latest_sync_time": instant(start, func(r *row) *time.Time { return &r.LatestSyncTime }),
		"project_id":       text(1, 64, func(r *row) *string { return &r.ProjectID }),
	}
}

func finishRegistry(r *Registry) error {
	if r.ID == "" || r.Type == "" {
		return errors.New(`fields "id" and "registry_type" are both needed`)
	}
	setDefault(&r.Name, r.Type)
	setDefault(&r.Protocol, "https")
	return nil
}

// IAMProject is a project as IAM lists it: its name is that of its region.
type IAMProject struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func iamProjectFields() map[string]setter[IAMProject] {
	return map[string]setter[IAMProject]{
		"id":   text(1, 64, func(p *IAMProject) *string { return &p.ID }),
		"name": text(1, 64, func(p *IAMProject) *string { return &p.Name }),
	}
}

func finishIAMProject(p *IAMProject) error {
	if p.ID == "" || p.Name == "" {
		return errors.New(`fields "id" and "name" are both needed`)
	}
	return nil
}

// Credential is a key pair that a server accepts.
type Credential struct {
	AccessKey string
	SecretKey string
	// SecurityToken makes it a temporary credential: requests must carry it
	// in X-Security-Token, and sign it.
	SecurityToken string
	// Projects are those that it may read; empty: all that the server has.
	Projects []string
}

// String names the credential without its secrets.
func (c Credential) String() string { return "credential " + c.AccessKey }

// GoString names the credential without its secrets.
func (c Credential) GoString() string { return c.String() }

// LogValue names the credential without its secrets.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

func credentialFields() map[string]setter[Credential] {
	return map[string]setter[Credential]{
		"access_key":     text(1, 128, func(c *Credential) *string { return &c.AccessKey }),
		"secret_key":     secret(func(c *Credential) *string { return &c.SecretKey }),
		"security_token": secret(func(c *Credential) *string { return &c.SecurityToken }),
		"projects":       texts(1, 64, func(c *Credential) *[]string { return &c.Projects }),
	}
}

func finishCredential(c *Credential) error {
	if c.AccessKey == "" || c.SecretKey == "" {
		return errors.New(`fields "access_key" and "secret_key" are both needed`)
	}
	return nil
}

// Fault is something that goes wrong at a server. Its kinds, and the fields
// that one of them uses:
//
//	cut, empty, garbage, hang, no_data_list, reset
//	error     status (default 200): an error of HSS in the body
//	html      status (default 502): a load balancer's page
//	huge      bytes (default 1 GiB)
//	slow      bytes (default 1) at a time with a pause (default 100ms)
//	status    status (default 503): an error of the API gateway
//	throttle  retry_after: seconds in quotes, or a date; default: not sent
//
// Every kind takes times (default 1; 0: forever), endpoint, and namespace and
// image_name, which limit it to requests of that endpoint and for that image.
type Fault struct {
	Kind   string
	Status int
	// Times is how often; 0: forever; nil: once.
	Times      *int
	RetryAfter string
	Bytes      int64
	Pause      time.Duration
	Namespace  string
	ImageName  string
	Endpoint   string
}

func faultFields() map[string]setter[Fault] {
	return map[string]setter[Fault]{
		"kind":         choice(FaultKinds(), func(f *Fault) *string { return &f.Kind }),
		"status":       integer(200, 599, func(f *Fault, n int64) { f.Status = int(n) }),
		"times":        integer(0, 1<<31-1, func(f *Fault, n int64) { f.Times = new(int(n)) }),
		"retry_after":  retryAfter,
		"bytes":        integer(1, 1<<40, func(f *Fault, n int64) { f.Bytes = n }),
		"pause":        pause,
		fieldNamespace: text(1, 128, func(f *Fault) *string { return &f.Namespace }),
		fieldImageName: text(1, 128, func(f *Fault) *string { return &f.ImageName }),
		"endpoint":     choice(Endpoints(), func(f *Fault) *string { return &f.Endpoint }),
	}
}

func finishFault(f *Fault) error {
	if f.Kind == "" {
		return errors.New(`field "kind" is missing`)
	}
	return nil
}

// retryAfter reads what may be the value of the header Retry-After.
func retryAfter(f *Fault, raw json.RawMessage) error {
	err := json.Unmarshal(raw, &f.RetryAfter)
	_, secondsErr := strconv.ParseUint(f.RetryAfter, 10, 31)
	_, dateErr := http.ParseTime(f.RetryAfter)
	if err != nil || secondsErr != nil && dateErr != nil {
		return fmt.Errorf("seconds, or a date such as %q, in quotes", http.TimeFormat)
	}
	return nil
}

func pause(f *Fault, raw json.RawMessage) error {
	var text string
	err := json.Unmarshal(raw, &text)
	if err == nil {
		f.Pause, err = time.ParseDuration(text)
	}
	if err != nil || f.Pause < 0 {
		return errors.New("a duration such as 100ms")
	}
	return nil
}
