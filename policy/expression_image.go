package policy

import (
	"time"

	apiservercel "k8s.io/apiserver/pkg/cel"
)

// imageType declares image to CEL, so that a misspelt field is an error when a
// policy is written. The numbers, the severity level and the times are absent,
// not 0, if HSS doesn't tell them or the scan has no result: an expression
// that needs one then fails, and has() asks for it.
func imageType() *apiservercel.DeclType {
	text, number, truth, instant := apiservercel.StringType, apiservercel.IntType, apiservercel.BoolType, apiservercel.TimestampType
	architecture := objectType("hssgate.Architecture", map[string]*apiservercel.DeclType{
		"digest": text, "scanStatus": text,
		"vulnerabilities": number, "unsafeSettings": number, "maliciousFiles": number,
	})
	return objectType("hssgate.Image", map[string]*apiservercel.DeclType{
		"reference": text, "host": text, "path": text, "repository": text, "tag": text, "digest": text,
		"namespace": text, "name": text, "version": text, "scannedDigest": text,
		"imageType": text, "registryType": text, "registryName": text,
		"instanceID": text, "instanceName": text,
		"scanStatus": text, "severityLevel": text, "scannedAt": instant, "updatedAt": instant,
		"vulnerabilities": number, "unsafeSettings": number, "maliciousFiles": number,
		"multiArch":     truth,
		"architectures": apiservercel.NewListType(architecture, maxArchitectures),
	})
}

func objectType(name string, fields map[string]*apiservercel.DeclType) *apiservercel.DeclType {
	declared := make(map[string]*apiservercel.DeclField, len(fields))
	for field, fieldType := range fields {
		declared[field] = apiservercel.NewDeclField(field, fieldType, false, nil, nil)
	}
	return apiservercel.NewObjectType(name, declared)
}

// variables are what expressions read of s, the same for all of them.
func variables(s *subject) map[string]any {
	if s.variables == nil {
		s.variables = map[string]any{"image": imageValue(s), "now": s.now}
	}
	return s.variables
}

// imageValue holds the fields that imageType declares.
func imageValue(s *subject) map[string]any {
	image, record := s.image, s.record
	architectures := make([]map[string]any, 0, len(record.Architectures))
	for i := range record.Architectures {
		a := &record.Architectures[i]
		value := map[string]any{"digest": a.Digest}
		setScan(value, &a.Scan)
		architectures = append(architectures, value)
	}
	value := map[string]any{
		"reference": image.Reference, "host": image.Host, "path": image.Path, "repository": image.Host + "/" + image.Path,
		"tag": image.Tag, "digest": image.Digest,
		"namespace": record.Namespace, "name": record.Name, "version": record.Version, "scannedDigest": record.Digest,
		"imageType": record.ImageType, "registryType": record.RegistryType, "registryName": record.RegistryName,
		"instanceID": record.InstanceID, "instanceName": record.InstanceName,
		"multiArch": record.MultiArch, "architectures": architectures,
	}
	setScan(value, s.scan)
	setTime(value, "scannedAt", record.ScannedAt)
	setTime(value, "updatedAt", record.UpdatedAt)
	if record.Severity != "" && stageOf(s.scan.Status) == stageDone {
		value["severityLevel"] = string(record.Severity)
	}
	return value
}

func setScan(value map[string]any, scan *Scan) {
	value["scanStatus"] = string(scan.Status)
	if stageOf(scan.Status) != stageDone {
		return
	}
	setNumber(value, "vulnerabilities", scan.Vulnerabilities)
	setNumber(value, "unsafeSettings", scan.UnsafeSettings)
	setNumber(value, "maliciousFiles", scan.MaliciousFiles)
}

func setNumber(value map[string]any, field string, n *int) {
	if n != nil && *n >= 0 {
		value[field] = *n
	}
}

func setTime(value map[string]any, field string, t time.Time) {
	if !t.IsZero() {
		value[field] = t
	}
}
