"""The steps of a refresh (infra/statemachines/proxy-refresh.asl.json): a task a tag, some workers side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from chalicelib.jobs import executions, steps
from chalicelib.jobs.records import Execution, Status, Task
from chalicelib.jobs.steps import StepInput
from chalicelib.jobs.store import tasks
from chalicelib.oci.errors import NameUnknown, RegistryError, Unavailable
from chalicelib.projects import rules as projects
from chalicelib.proxycache import refreshing, sources
from chalicelib.proxycache.refreshes import PROXY_REFRESH
from chalicelib.registry.store import repositories
from chalicelib.timed_cache import TimedCache
from chalicelib.upstreams.errors import ConnectionsTaken, UpstreamError, UpstreamRateLimited

_PAGE = 20
"""Repositories that are planned at once: each is read whole."""
_PAUSE = 60
"""Seconds for which an upstream that limits requests is left alone when it does not say how long."""

_limits: TimedCache[int, str] = TimedCache(64)
"""Upstream registries that limit requests just now, by number, and what they said."""


def run(event: StepInput) -> dict[str, Any]:
    """The Lambda's whole work. Raises StoppedError when the execution is over."""
    return dict(steps.run(PROXY_REFRESH, event, {"plan": _plan, "work": _work, "finish": _finish}))


def _plan(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Write the tasks of some repositories: one for each tag that the execution is to look at."""
    cursor, following = event["plan"]["cursor"], event["plan"]["next"]
    project = projects.get_by_id(execution.vendor_id)
    names, after = repositories.read_names(project.name, cursor, _PAGE)
    for name in names:
        tags = refreshing.wanted(name, execution.extra["days"], execution.started)
        following = tasks.create(execution.number, following, ({"repository": name, "tag": tag} for tag in tags))
    return {"cursor": after, "next": following, "done": not after}


def _work(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    return steps.work(execution, event, _refresh)


def _refresh(execution: Execution, task: Task) -> None:
    """Look after one tag. Only what another try may mend, a busy store or a fill that takes long, is raised."""
    project = projects.get_by_id(execution.vendor_id)
    limited = _limits.get(project.registry_id)
    try:
        if limited is not None:
            raise UpstreamRateLimited(limited[0], None)
        outcome = refreshing.refresh(sources.of(project, task.extra["repository"]), task.extra["tag"])
    except NameUnknown as error:
        outcome = str(error)  # the project's filter keeps it out now
    except ConnectionsTaken as error:
        raise Unavailable(str(error), retry_after=1) from error  # that is our own doing: the task is tried again
    except UpstreamRateLimited as error:
        if limited is None:
            _limits.put(project.registry_id, str(error), error.retry_after or _PAUSE)
        tasks.finish(task, Status.ERROR, str(error))
        return
    except Unavailable:
        raise
    except (UpstreamError, RegistryError) as error:
        tasks.finish(task, Status.ERROR, str(error))
        return
    tasks.finish(task, Status.SUCCESS, extra={**task.extra, "outcome": outcome})


def _finish(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Tell how many tags were looked at and what came of them, then end as every job does."""
    found = tasks.read_all(execution.number)
    outcomes = Counter(task.extra.get("outcome", "") for task in found)
    told = executions.save_progress(
        execution,
        tags=len(found),
        updated=outcomes[refreshing.UPDATED],
        gone=outcomes[refreshing.GONE],
        failed=sum(task.status is Status.ERROR for task in found),
    )
    return steps.finish(told, event)
