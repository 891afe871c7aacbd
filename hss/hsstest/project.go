package hsstest

import (
	"net/http"
	"net/url"
)

// DefaultProjectID is the project that IAM lists for every region, unless the
// server was made with [WithIAMProjects] or [WithProjects].
const DefaultProjectID = "hsstest-project"

// projectsBody is IAM's answer.
type projectsBody struct {
	Projects []IAMProject `json:"projects"`
}

func (b *projectsBody) rows() int { return len(b.Projects) }

// iamProjects answers EndpointProjects.
func (h *Handler) iamProjects(asked call) (answerBody, *refusal) {
	query, err := url.ParseQuery(asked.query)
	if err != nil || len(query) != 1 || len(query["name"]) != 1 {
		return nil, fromGateway(http.StatusBadRequest, "IAM.0001", "the query must be name={region}")
	}
	region := query.Get("name")
	body := &projectsBody{Projects: []IAMProject{}}
	for _, project := range h.options.projectsOf(region) {
		if project.Name == region {
			body.Projects = append(body.Projects, project)
		}
	}
	return body, nil
}

// projectsOf returns the projects that IAM has, those by default being of any
// region.
func (o *options) projectsOf(region string) []IAMProject {
	if o.iamProjects != nil {
		return o.iamProjects
	}
	if len(o.projects) == 0 {
		return []IAMProject{{ID: DefaultProjectID, Name: region}}
	}
	var all []IAMProject
	for _, id := range o.projects {
		all = append(all, IAMProject{ID: id, Name: region})
	}
	return all
}
