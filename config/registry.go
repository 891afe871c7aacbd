package config

// Spellings of a name that holds slashes, such as the a/b of host/team/a/b.
const (
	// NestedSlash is a/b.
	NestedSlash = "slash"
	// NestedDollar is a$b, as SWR's own API writes it.
	NestedDollar = "dollar"
)

// Image types of HSS; Registry.ImageTypes describes them.
const (
	TypePrivate  = "private_image"
	TypeShared   = "shared_image"
	TypeInstance = "instance_image"
	TypeHarbor   = "harbor"
	TypeJFrog    = "jfrog"
)

// Registry says which images HSS knows under which names.
type Registry struct {
	// Name is what messages and metrics call the registry.
	Name string `yaml:"name" required:"true" format:"name"`
	// Hosts are the exact hosts of image references that belong to the
	// registry, lower-case, with the port if it is not 443, at least one. A
	// host may be claimed again only by a registry whose namespaces or whose
	// path's fixed segments tell the two apart.
	Hosts []string `yaml:"hosts" required:"true" unique:"true"`
	// Project is the name of the HSS project that scans the registry. It may
	// be left out if there is just one.
	Project string `yaml:"project"`
	// ImageTypes are the types that HSS gives the registry's images:
	// private_image and shared_image (SWR), instance_image (SWR Enterprise),
	// harbor or jfrog. Only the first two may stand together.
	ImageTypes []string `yaml:"imageTypes" default:"[private_image, shared_image]" required:"true" unique:"true" oneof:"private_image shared_image instance_image harbor jfrog"`
	// Namespaces limits the registry to these namespaces (organisations).
	// Empty: all. With a path that has no {namespace}, it holds the one
	// namespace of every image.
	Namespaces []string `yaml:"namespaces" maxLength:"128"`
	// RegistryType, if set, must equal the registry_type that HSS gives.
	RegistryType string `yaml:"registryType" oneof:"SwrPrivate SwrShared SwrEnterprise Harbor Jfrog Other"`
	// RegistryName, if set, must equal the registry_name that HSS gives.
	// Images of type harbor and jfrog need registryName or registryID, since
	// two registries may hold the same names.
	RegistryName string `yaml:"registryName" maxLength:"128"`
	// RegistryID, if set, must equal the registry_id that HSS gives.
	RegistryID string `yaml:"registryID" maxLength:"128"`
	// InstanceID, if set, must equal the instance_id that HSS gives. Images
	// of type instance_image need it.
	InstanceID string `yaml:"instanceID" maxLength:"128"`
	// Path says how the path of a reference maps to HSS's namespace and name,
	// segment by segment: {namespace} is one segment, {name} the rest and
	// always last, * one segment that is ignored, anything else itself.
	Path string `yaml:"path" default:"'{namespace}/{name}'" required:"true"`
	// NestedNames are the spellings that HSS may use for a name that holds
	// slashes: slash (a/b) and dollar (a$b). Each is asked for.
	NestedNames []string `yaml:"nestedNames" default:"[slash, dollar]" required:"true" unique:"true" oneof:"slash dollar"`
}
