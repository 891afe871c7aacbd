package config

import (
	"reflect"
	"slices"
	"time"
)

// The only version and kind that this release reads.
const (
	// APIVersion is the value of apiVersion.
	APIVersion = "config.hssgate.io/v1alpha1"
	// Kind is the value of kind.
	Kind = "Configuration"
)

// Configuration is the whole file. It is read at the start only.
type Configuration struct {
	// APIVersion must be config.hssgate.io/v1alpha1.
	APIVersion string `yaml:"apiVersion" default:"config.hssgate.io/v1alpha1" oneof:"config.hssgate.io/v1alpha1"`
	// Kind must be Configuration.
	Kind string `yaml:"kind" default:"Configuration" oneof:"Configuration"`
	// Projects are the HSS projects that hssgate reads, at least one: each is
	// one project in one region.
	Projects []Project `yaml:"projects" required:"true" unique:"name"`
	// Registries say which registry hosts belong to which project, at least
	// one. An image of any other host is not found, whatever its path.
	Registries []Registry `yaml:"registries" required:"true" unique:"name"`
	// Cache says how long HSS's answers are kept and used.
	Cache Cache `yaml:"cache"`
	// Webhook says how the admission webhook listens.
	Webhook Webhook `yaml:"webhook"`
	// MaxExceptionLifetime is the longest that an exception lasts from
	// its creation. One that claims more is refused, and ends then if it
	// exists already.
	MaxExceptionLifetime time.Duration `yaml:"maxExceptionLifetime" default:"720h" min:"1m" max:"87600h"`
	// Audit says how the running pods are evaluated.
	Audit Audit `yaml:"audit"`
	// Messages says how denials, warnings and Events are written.
	Messages Messages `yaml:"messages"`
	// HealthBindAddress is where /healthz and /readyz are served, as
	// host:port.
	HealthBindAddress string `yaml:"healthBindAddress" default:":8081" format:"address or 0"`
	// MetricsBindAddress is where /metrics is served in plain HTTP, as
	// host:port; "0" switches it off.
	MetricsBindAddress string `yaml:"metricsBindAddress" default:":8080" format:"address or 0"`
	// DryRun turns every denial into a warning, whatever a policy says.
	DryRun bool `yaml:"dryRun" default:"false"`
	// ExemptNamespaces are never evaluated, whatever a policy says, so that a
	// cluster can start. hssgate's own namespace is always one of them.
	ExemptNamespaces []string `yaml:"exemptNamespaces" default:"[kube-system]" format:"name"`
}

// ScansOnDemand reports whether any project is asked to scan images.
func (c *Configuration) ScansOnDemand() bool {
	return slices.ContainsFunc(c.Projects, func(p Project) bool { return p.ScanOnDemand.Enabled })
}

// Cache says how long HSS's answers are kept and used.
type Cache struct {
	// MaxBytes bounds the memory of the images that are remembered. An image
	// takes less than 1 KB. Images that HSS does not know, and lists of
	// vulnerabilities, are bounded apart.
	MaxBytes Bytes `yaml:"maxBytes" default:"64Mi" min:"1Mi" max:"4Gi"`
	// FreshFor is how long an image's completed scan is used without a new call
	// to HSS. An image in use is refreshed in the background at four
	// fifths of that time. One that waits to be scanned is refreshed after 15s, if
	// freshFor isn't shorter.
	FreshFor time.Duration `yaml:"freshFor" default:"5m" min:"1s" max:"24h"`
	// NotFoundFor is the same for an image that HSS does not know, so that a
	// new push is soon seen.
	NotFoundFor time.Duration `yaml:"notFoundFor" default:"30s" min:"1s" max:"24h"`
	// WaitWhenStale is how long a request waits for HSS if a scan result that
	// is no longer fresh is available. After that the older result decides and
	// says so, while it is refreshed.
	WaitWhenStale time.Duration `yaml:"waitWhenStale" default:"2s" min:"0s" max:"30s"`
	// MaxStaleness is the age up to which an answer is still used while HSS
	// is unreachable, at least freshFor. Past it, a policy's when.unavailable
	// decides.
	MaxStaleness time.Duration `yaml:"maxStaleness" default:"24h" min:"1s" max:"8760h"`
}

// Webhook says how the admission webhook listens.
type Webhook struct {
	// BindAddress is where the webhook is served in HTTPS, as host:port.
	BindAddress string `yaml:"bindAddress" default:":9443" format:"address"`
	// CertDir is a folder that holds tls.crt and tls.key, read again when they
	// change. Without it, hssgate makes its own certificates.
	CertDir string `yaml:"certDir"`
	// Hosts are the DNS names and IP addresses that hssgate's own certificates
	// are for. Left out, they are localhost, 127.0.0.1, ::1 and, in a cluster,
	// those of a Service named hssgate in hssgate's namespace.
	Hosts []string `yaml:"hosts"`
	// ConfigurationName names the ValidatingWebhookConfiguration into whose
	// webhooks hssgate writes the CA of its own certificates (caBundle).
	ConfigurationName string `yaml:"configurationName"`
	// MutatingConfigurationName names the MutatingWebhookConfiguration whose
	// webhook has hssgate pin images (spec.pin of a policy), which gets the same
	// CA. It needs configurationName. Left out, there is none, or someone else
	// fills in its caBundle.
	MutatingConfigurationName string `yaml:"mutatingConfigurationName"`
	// CASecret names the Secret in hssgate's own namespace that holds the CA of
	// hssgate's own certificates, the same for all replicas and restarts. It needs
	// configurationName. Left out, each replica has a CA of its own, in memory.
	CASecret string `yaml:"caSecret"`
	// ClientCAFile is a file of the CAs (PEM) of clients, read again when it
	// changes. With it, only a client with a certificate of theirs may ask: the
	// API server, if its AdmissionConfiguration says so. Without it, all who can
	// connect may.
	ClientCAFile string `yaml:"clientCAFile"` //nolint:tagliatelle // as Kubernetes spells clientCAFile
	// ClientNames are the clients that may ask, by the common name or a DNS name
	// of their certificate. Left out, all with a certificate from clientCAFile.
	ClientNames []string `yaml:"clientNames" maxLength:"253"`
	// MaxInFlightBytes bounds the bytes of all reviews that are read at one
	// time; the largest review has 32Mi. Past it, one that is slow to arrive is
	// refused with a reason, and the others wait.
	MaxInFlightBytes Bytes `yaml:"maxInFlightBytes" default:"64Mi" min:"32Mi" max:"1Ti"`
}

// OwnCertificates reports whether hssgate makes its own certificates, since it
// is given none.
func (w *Webhook) OwnCertificates() bool { return w.CertDir == "" }

// Audit says how the running pods are evaluated: by the same policies as new
// ones, in the background, by the leader.
type Audit struct {
	// Enabled switches it on.
	Enabled bool `yaml:"enabled" default:"true"`
	// Interval is the time from one audit to the next. A change of a
	// policy is audited after 3 seconds, a change of exceptions or scan results
	// after at most a fifth of the interval. Over time, changes cause no more than
	// one audit in a fifth of the interval, and audits take no more than a fifth of
	// the time.
	Interval time.Duration `yaml:"interval" default:"10m" min:"5s" max:"24h"`
	// Reports says which reports are written, one for each namespace in which
	// something is wrong: OpenReports (openreports.io) or PolicyReports
	// (wgpolicyk8s.io). Auto writes OpenReports where their
	// CustomResourceDefinition is installed, else PolicyReports where theirs is.
	Reports string `yaml:"reports" default:"Auto" oneof:"Auto OpenReports PolicyReports None"`
}

// Messages says how denials, warnings and Events are written.
type Messages struct {
	// Language is English (en) or Chinese (zh-CN). Names, reason codes, a policy's own
	// messages and what HSS answers stay as they are.
	Language string `yaml:"language" default:"en" oneof:"en zh-CN"`
}

// Default returns the configuration of an empty file: everything that has a
// default, no projects and no registries.
func Default() *Configuration {
	c := &Configuration{}
	setDefaults(reflect.ValueOf(c).Elem())
	return c
}
