package image

import "slices"

// Workload is an object that names images: a pod, or a template of pods.
type Workload struct {
	// Kind is the object's kind, such as "Deployment".
	Kind string
	// Template says that the images stand in a pod template: no pod runs yet.
	Template bool
	// Labels are those of the pod, or of the template's future pods.
	Labels map[string]string
	// Uses are the places that name an image. A template may leave an image
	// out, for someone else to fill in; such places are not among them.
	Uses []Use
}

// podPart finds the pod or pod template in an object of the kind, and the path of
// its spec, which is empty for other kinds. The version does not matter: all
// versions name images in the same places.
func podPart(group, kind string, m *Manifest) (spec *PodSpec, labels Labels, path string) {
	switch group + "/" + kind {
	case "/Pod":
		return &m.Spec.PodSpec, m.Metadata.Labels, "spec"
	case "/PodTemplate":
		return &m.Template.Spec, m.Template.Metadata.Labels, "template.spec"
	case "batch/CronJob":
		template := &m.Spec.JobTemplate.Spec.Template
		return &template.Spec, template.Metadata.Labels, "spec.jobTemplate.spec.template.spec"
	case "/ReplicationController", "apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job":
		return &m.Spec.Template.Spec, m.Spec.Template.Metadata.Labels, "spec.template.spec"
	}
	return nil, nil, ""
}

// HoldsImages reports whether objects of the kind hold a pod or a pod template.
// The core group is "".
func HoldsImages(group, kind string) bool {
	_, _, path := podPart(group, kind, &Manifest{})
	return path != ""
}

// Workload returns the manifest's images, read as the given kind; ok is false
// for a kind that holds none.
func (m *Manifest) Workload(group, kind string) (w Workload, ok bool) {
	spec, labels, path := podPart(group, kind, m)
	if path == "" {
		return Workload{}, false
	}
	w = Workload{Kind: kind, Template: kind != "Pod", Labels: labels, Uses: spec.Uses()}
	if w.Template {
		w.Uses = slices.DeleteFunc(w.Uses, func(u Use) bool { return u.Image == "" })
	}
	return w, true
}

// WithoutContainers is the path of the containers if an object of the kind has
// none, which the API server refuses; otherwise it is empty, as it is for a kind
// that holds no images. A webhook is never asked about such an object.
func (m *Manifest) WithoutContainers(group, kind string) (path string) {
	spec, _, path := podPart(group, kind, m)
	if path == "" || len(spec.Containers) > 0 {
		return ""
	}
	return path + ".containers"
}

// DisplayName is the object's name, or its generateName with a * where the API
// server will add to it.
func (m Metadata) DisplayName() string {
	if m.Name == "" && m.GenerateName != "" {
		return m.GenerateName + "*"
	}
	return m.Name
}
