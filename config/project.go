package config

import "time"

// Project is one HSS project in one region.
type Project struct {
	// Name is what registries call the project.
	Name string `yaml:"name" required:"true" format:"name"`
	// Region is the project's region, such as cn-north-4. It may be left out if
	// endpoint and projectID are given.
	Region string `yaml:"region"`
	// Endpoint is the https:// address of HSS, if the region's own will not do.
	Endpoint string `yaml:"endpoint"`
	// Insecure allows an http:// endpoint that is not on this host: anyone
	// on the way can read and forge HSS's answers.
	Insecure bool `yaml:"insecure" default:"false"`
	// ProjectID is the project's ID, which the cloud console shows below My
	// Credentials. Left out, it is that of the credentials or, as for most of
	// them, the one that IAM lists for the region, which needs the permission
	// iam:projects:listProjects.
	ProjectID string `yaml:"projectID"`
	// EnterpriseProjectID is the enterprise project to ask for: all_granted_eps is
	// every one, 0 is only the default one.
	EnterpriseProjectID string `yaml:"enterpriseProjectID" default:"all_granted_eps" required:"true" maxLength:"256"`
	// Credentials say where the keys or the token come from.
	Credentials Credentials `yaml:"credentials"`
	// CAFile holds PEM certificates to trust in place of the system's, for HSS
	// and IAM.
	CAFile string `yaml:"caFile"`
	// RequestsPerSecond bounds each replica's calls to HSS. The API gateway
	// allows 200 calls a second by default, for all clients together.
	RequestsPerSecond float64 `yaml:"requestsPerSecond" default:"50" min:"0.001" max:"1000"`
	// RequestTimeout bounds one call to HSS.
	RequestTimeout time.Duration `yaml:"requestTimeout" default:"10s" min:"100ms" max:"5m"`
	// SyncInterval, if set, has hssgate list the whole project ahead of any
	// request, 200 images a call, and then ask this often for what changed. It
	// suits clusters that use a good part of the project's images; otherwise most
	// of the calls are wasted. Every replica synchronises for itself. It lists
	// everything again after an hour, and then less often as long as that shows
	// nothing that the lists of changes missed: after twice the time, up to 12h
	// and half of cache.maxStaleness. Only a whole list shows that an image was
	// deleted, or changed without a new time of scan, update or synchronisation.
	// So that is noticed 15h later at the latest, and 2h30m later with a
	// maxStaleness of 2h.
	SyncInterval time.Duration `yaml:"syncInterval" min:"5s" max:"1h"`
	// ScanOnDemand asks HSS to scan images that pods need.
	ScanOnDemand ScanOnDemand `yaml:"scanOnDemand"`
}

// ScanOnDemand asks HSS to scan the images of pods that are refused, or warned
// of, because HSS has not scanned them, and to synchronise their registry if
// HSS does not know them. It is off by default, since each scan costs money.
// Requests that are only tried (dry run) ask for nothing, and neither does
// hssgate while dryRun is true.
type ScanOnDemand struct {
	// Enabled switches it on.
	Enabled bool `yaml:"enabled" default:"false"`
	// MaxPerHour is how many scans each replica requests in an hour.
	MaxPerHour int `yaml:"maxPerHour" default:"20" min:"1" max:"1000"`
}

// Credential sources; Credentials.Source describes them.
const (
	SourceDefault     = "Default"
	SourceEnvironment = "Environment"
	SourceProfile     = "Profile"
	SourceFiles       = "Files"
	SourceMetadata    = "Metadata"
	SourcePodIdentity = "PodIdentity"
	SourceTokenFile   = "TokenFile"
	SourceOIDC        = "OIDC"
)

// Credentials say where the keys or the token come from. They never hold them.
type Credentials struct {
	// Source is where to look. Default: the environment, the profile file, the
	// pod's identity and the node's agency, whichever is there first.
	// Environment: HUAWEICLOUD_SDK_IDP_ID and _ID_TOKEN_FILE, which are as for
	// OIDC, or else _AK, _SK and _SECURITY_TOKEN; and _PROJECT_ID.
	// Profile: profileFile. Files: accessKeyFile, secretKeyFile and
	// securityTokenFile. Metadata: the node's agency. PodIdentity: CCE's pod
	// identity. TokenFile: tokenFile. OIDC: tokenFile, which IAM exchanges for
	// temporary keys by identityProviderID.
	Source string `yaml:"source" default:"Default" oneof:"Default Environment Profile Files Metadata PodIdentity TokenFile OIDC" secret:"true"`
	// AccessKeyFile holds the access key, for source Files. Files are re-read
	// when they change.
	AccessKeyFile string `yaml:"accessKeyFile"`
	// SecretKeyFile holds the secret key, for source Files.
	SecretKeyFile string `yaml:"secretKeyFile"`
	// SecurityTokenFile holds the security token of temporary keys, for
	// source Files. May be left out.
	SecurityTokenFile string `yaml:"securityTokenFile"`
	// ProfileFile is the profile file, for source Profile. Left out, it is
	// $HUAWEICLOUD_SDK_CREDENTIALS_FILE or ~/.huaweicloud/credentials.
	ProfileFile string `yaml:"profileFile"`
	// TokenFile holds an X-Auth-Token, for source TokenFile, or a projected
	// service account token, for source OIDC. Left out for that, it is
	// $HUAWEICLOUD_SDK_ID_TOKEN_FILE.
	TokenFile string `yaml:"tokenFile"`
	// IdentityProviderID names the identity provider of IAM (OpenID Connect)
	// that trusts the cluster's tokens, for source OIDC. Left out, it is
	// $HUAWEICLOUD_SDK_IDP_ID.
	IdentityProviderID string `yaml:"identityProviderID"`
}
