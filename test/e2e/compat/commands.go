package main

// command is one kubectl command that both addresses must answer alike.
type command struct {
	line   string              // its arguments; single quotes hold words with spaces together
	meant  string              // what it is meant to fail or end empty with; "" if it must bring something
	common func(string) string // leaves of an output only what both have; nil: everything
}

// commands are the kubectl commands, without those that watch.
func commands() []command {
	var all []command
	for _, line := range []string{
		// Lists in all forms.
		"get pods -n shop",
		"get pods -n shop -o wide",
		"get pods -A",
		"get pods -A -o wide --show-labels",
		"get pods -n shop -o json",
		"get pods -n billing -o yaml",
		"get pods -n shop -o name",
		"get pods -n shop --no-headers",
		"get pods -n shop -L app,tier,env",
		"get pods -n shop -l app=lone -o jsonpath='{range .items[*]}{.metadata.name}{\"\\t\"}{.status.podIP}{\"\\n\"}{end}'",
		"get pods -n shop -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image,NODE:.spec.nodeName",
		"get pods -n shop -o go-template='{{range .items}}{{.metadata.name}} {{.status.phase}}{{\"\\n\"}}{{end}}'",
		"get pods -A --sort-by=.metadata.name",
		"get pods -n shop --sort-by=.spec.nodeName -o wide",
		"get pods -n shop --chunk-size=5",
		"get pods -A --chunk-size=7 -o json",
		"get all -n shop",
		"get all -A",
		"get tools -A",
		"get pods,services,deployments -n shop",
		"get deployment/web service/web -n shop",
		"get nodes",
		"get nodes -o wide",
		"get nodes -o json",
		"get namespaces --show-labels",
		"get deploy -n shop -o wide",
		"get rs -n shop -o wide",
		"get sts,ds -A -o wide",
		"get jobs,cronjobs -n billing -o wide",
		"get svc -n shop -o wide",
		"get ingress,ingressclass -n shop -o wide",
		"get pvc,pv -n shop -o wide",
		"get storageclass",
		"get cm,secrets,sa -n shop",
		"get secret password -n shop -o yaml",
		"get cm settings -n shop -o json",
		"get hpa -n shop",
		"get pdb,netpol,quota,limits -A",
		"get roles,rolebindings -n shop -o wide",
		"get endpointslices -n shop",
		"get leases -n kube-node-lease",
		"get priorityclasses",
		"get controllerrevisions -n shop",
		"get crd",
		"get crd gadgets.compat.krm.test -o yaml",
		"get gadgets -A",
		"get gd -n shop -o wide",
		"get gd -n shop gadget-00 -o yaml",
		"get gadgets.v1.compat.krm.test -n billing -o json",
		"get events -n billing",
		"get events -A --sort-by=.metadata.name -o name",
		"events -n shop --for=deployment/web",
		// Selectors.
		"get pods -n shop -l env=prod",
		"get pods -n shop -l env==prod,app!=web",
		"get pods -n shop -l env!=prod",
		"get pods -n shop -l 'env in (dev,test)'",
		"get pods -n shop -l 'env notin (dev,test)'",
		"get pods -n shop -l env",
		"get pods -n shop -l '!env'",
		"get pods -n shop -l 'app=lone,number>37'",
		"get pods -n shop -l 'app=lone,number<3'",
		"get pods -n shop -l flag=",
		"get pods -A --field-selector=status.phase=Succeeded",
		"get pods -A --field-selector=status.phase!=Running,metadata.namespace!=shop",
		"get pods -A --field-selector=spec.nodeName=node-1 -o wide",
		"get pods -n shop --field-selector=metadata.name=lone-07",
		"get pods -A --field-selector=spec.schedulerName=default-scheduler -l app=db",
		"get gadgets -A --field-selector=spec.colour=red",
		"get gadgets -A --field-selector=spec.size=3 -l shelf=1",
		"get events -n billing --field-selector=reason=FailedScheduling -o name",
		"get secrets -A --field-selector=type=Opaque",
		"get services -A --field-selector=spec.type=ClusterIP",
		"get jobs -A --field-selector=status.successful=2",
		// Describe.
		"describe pod -n shop -l app=web",
		"describe pod lone-07 -n shop",
		"describe pods -n billing",
		"describe node node-0",
		"describe deployment web -n shop",
		"describe sts/db ds/agent -n shop",
		"describe job/settle cronjob/nightly -n billing",
		"describe service web -n shop",
		"describe svc gate -n shop",
		"describe ingress web -n shop",
		"describe pvc,pv -n shop",
		"describe cm settings -n shop",
		"describe secret password -n shop",
		"describe namespace billing",
		"describe hpa api -n shop",
		"describe gadget gadget-05 -n billing",
		"describe crd gadgets.compat.krm.test",
		"describe quota -n billing",
		// Explain and discovery.
		"explain pods",
		"explain pod.spec.containers.livenessProbe",
		"explain deployment.spec.strategy --recursive",
		"explain deployments --api-version=apps/v1",
		"explain gadgets",
		"explain gadget.spec --recursive",
		"explain ingress.spec.rules -o plaintext-openapiv2",
		"api-resources --api-group=apps",
		"api-resources --api-group=compat.krm.test",
		"api-resources --api-group=batch --namespaced=true --no-headers",
		"version",
		"cluster-info",
		// Waiting.
		"wait pod -n shop -l app=web --for=condition=Ready --timeout=20s",
		"wait deployment/web -n shop --for=condition=Available --timeout=20s",
		"wait deployment/web -n shop --for=jsonpath='{.status.availableReplicas}'=3 --timeout=20s",
		"wait job/settle -n billing --for=condition=complete --timeout=20s",
		"wait pv/compat-volume --for=jsonpath='{.status.phase}'=Bound --timeout=20s",
		"rollout status deployment/web -n shop --timeout=20s",
		"rollout status sts/db -n shop --timeout=20s",
		"rollout status ds/agent -n shop --timeout=20s",
		"rollout history deployment/web -n shop",
		"rollout history deployment/web -n shop --revision=2",
		"rollout history ds/agent -n shop",
		// Raw paths.
		"get --raw /version",
	} {
		all = append(all, command{line: line})
	}
	all = append(all,
		command{line: "get --raw /api/v1/namespaces/shop", common: rawObject},
		command{line: "api-resources", common: onlyWatched},
		command{line: "api-resources --namespaced=false", common: onlyWatched},
		command{line: "api-resources -o name --sort-by=name", common: onlyWatched},
		command{line: "api-resources --categories=all", common: onlyWatched},
		command{line: "api-versions", common: onlyWatchedGroups},
	)
	return append(all, []command{
		{line: "get pod no-such -n shop", meant: "not found"},
		{line: "get pod no-such -n shop --ignore-not-found", meant: "empty"},
		{line: "get pod lone-01 no-such -n shop", meant: "not found"},
		{line: "get gadget no-such -n shop -o yaml", meant: "not found"},
		{line: "get nosuchkind -A", meant: "unknown resource"},
		{line: "get pods -n hollow", meant: "No resources found"},
		{line: "get pods -n no-such-space", meant: "No resources found"},
		{line: "get pods -A -l app=nothing -o name", meant: "empty"},
		{line: "get pods -A --field-selector=spec.colour=red", meant: "bad field selector"},
		{line: "get gadgets -A --field-selector=spec.ratio=1", meant: "bad field selector"},
		{line: "get rs -A --field-selector=status.replicas=0", meant: "bad field selector"},
		{line: "get pods -A -l 'a in (b'", meant: "bad label selector"},
		{line: "describe pod no-such -n shop", meant: "not found"},
		{line: "explain nosuchkind", meant: "unknown resource"},
		{line: "explain pod.spec.nosuchfield", meant: "unknown field"},
		{line: "explain pods --api-version=v9", meant: "unknown version"},
		{line: "wait pod/lone-01 -n shop --for=condition=Never --timeout=1s", meant: "timeout"},
		{line: "wait pod/no-such -n shop --for=delete --timeout=10s", meant: "not found"},
		{line: "rollout status deployment/no-such -n shop", meant: "not found"},
		{line: "rollout history deployment/web -n shop --revision=77", meant: "unknown revision"},
		{line: "get --raw /api/v1/nosuch", meant: "not found"},
	}...)
}

// watchingCommands are stopped after a while, in which the stage is changed.
func watchingCommands() []command {
	var all []command
	for _, line := range []string{
		"get pods -n stage -w",
		"get pods -n stage --watch-only -o name",
		"get pods -n stage -w --output-watch-events -l act=one",
		"get pods -n stage -w -o json",
		"get pods -n stage -w -o wide --field-selector=metadata.name=actor-1",
		"get gadgets -n stage -w",
		"get gadgets -A --watch-only --output-watch-events -o custom-columns=N:.metadata.name,C:.spec.colour",
	} {
		all = append(all, command{line: line})
	}
	return all
}

// rawObject leaves of an object's JSON what KRM keeps.
func rawObject(text string) string {
	normal, err := normalJSON([]byte(text))
	if err != nil {
		return ""
	}
	return normal
}
