"""The DynamoDB tables: their names, keys and attributes. infra/resources.py deploys what is written here.

All keys are strings, named `pk` and `sk`. `|` separates the parts of a key: no name, tag, digest or media type
holds one. The protocol that these items serve is docs/gc.md.

Blobs: what a digest points at and who refers to it. One partition a digest, so that a collector learns all with one
consistent query.

    pk                     sk                                       item
    <digest>               blob                                     BlobItem: object key, size, state
    <digest>               link|<repository>                        LinkItem: the repository may serve the blob
    <digest>               edge|<repository>|<manifest>|<generation>    EdgeItem: a manifest names the blob
    <repository>@<digest>  edge|<repository>|<manifest>|<generation>    EdgeItem: an index names the manifest
    <project>@<digest>     edge|<repository>|<manifest>|<generation>    EdgeItem: a repository holds the manifest itself

Repositories: what a repository holds. One partition a repository.

    <repository>           manifest|<digest>                        ManifestItem: media type, bytes, generation
    <repository>           tag|<tag>                                TagItem: the tag's digest
    <repository>           tagged|<digest>|<tag>                    TagItem read from the other end
    <repository>           referrer|<subject>|<artifact type>|<digest>  ReferrerItem: a descriptor
    <repository>           artifact|<time>|<digest>                 ArtifactItem: what lists show of a manifest
    <repository>           accessory|<subject>|<time>|<digest>      ArtifactItem of one that is about another
    <repository>           signed|<subject>                         SignedItem: how many signatures there are of it
    <repository>           label|<digest>|<label's number>          LabelledItem: the artifact carries the label
    labelled|<label's number>   <repository>|<digest>               LabelledItem read from the other end
    catalog|<project>      <repository>                             CatalogItem: the repository, its manifests counted
    names                  <repository>                             NameItem: the catalog of all projects in one order

Uploads: sessions, dropped by TTL. Projects: who owns what. Accounts: who is who, and which role they have where. Jobs:
what runs in the background, dropped by TTL.

    <upload id>            upload                                   UploadItem
    project                <name>                                   ProjectItem
    project-id             <number>                                 ProjectIdItem: the project's name
    listed|public, listed|private   <name>                          ListedItem: there is a project of this name
    totals                 public|<shard>, private|<shard>          TotalsItem: how many projects and repositories
    cve-allowlist          <project's number>                       AllowlistItem; 0 is the system's
    label                  <number>                                 LabelItem
    label-name|<project's number>   <name>                          LabelNameItem: the label's number; 0 is all projects
    retention              <number>                                 RetentionItem: a policy of tag retention
    webhook|<project's number>   <number>                           WebhookItem: a policy
    webhooks-of|<event>    <project's number>                       SubscriberItem: it has a policy for a system's event
    registry               <number>                                 EndpointItem: an upstream registry
    registry-name          <name>                                   EndpointNameItem: the upstream registry's number
    usage|<project's number>|<shard>    charge|<digest>             ChargeItem: the digest counts in the project's usage
    usage|<project's number>|<shard>    total                       TotalItem: a part of the sum of all its charges
    stored|<shard>         stored                                   StoredItem: a part of the sum of all projects'
    traffic|<project's number>       traffic                        TrafficItem: what pulls through it came to
    recount                round, <project's number>                RecountItem: progress of the round, last reports
    counter                project, label, immutable-rule, webhook, retention, registry    CounterItem: the last number
                                                            given out

    user                   <number>                                 UserItem
    user-name              <user name>                              NumberItem: the user's number
    user-email             <e-mail address, lower case>             NumberItem: the user's number
    user-identity          <digest of issuer and subject>           NumberItem: the user's number
    user-count             <shard>                                  UserCountItem: how many users there are
    group                  <number>                                 GroupItem
    group-name|<type>      <name>                                   NumberItem: the group's number
    member|<project's number>   user|<number>, group|<number>       MemberItem: the role in a project
    membership|<that key>  <project's number>                       MembershipItem: MemberItem from the other end
    robot|<project's number>    <name>                              RobotItem; 0 is the system's
    robot-number           <number>                                 RobotNumberItem: the robot's project and name
    failures               name|<name>, address|<address>           FailuresItem: failed logins, dropped by TTL
    session|<digest of a name>  login, ...                          SessionItem: a browser's session, dropped by TTL
    configuration          system                                   ConfigurationItem: what an administrator has set
    counter                user, member, robot, group                  CounterItem: the last number given out

    execution|<vendor type>|<vendor id>   <number>          ExecutionItem
    execution-number       <number>                         ExecutionNumberItem: the execution's vendor type and id
    unfinished             <vendor type>|<vendor id>|       UnfinishedItem: the one execution of the job that runs; for
                                                            a job that may run twice at once its number follows
    occasion|<vendor type>|<vendor id>    <occasion>        OccasionItem: the execution that it has started
    task|<execution>       <ordinal>                        TaskItem
    log|<task's number>    <slice>|<piece>                  LogItem: a piece of the task's log
    schedule               <vendor type>|<vendor id>        ScheduleItem
    pause                  <kind of job>                    PauseItem: jobs of this kind do not start by themselves
    upstream|<repository>  <question>                       ReplyItem: what its upstream registry replied lately
    upstream|<repository>  waiting|<digest>|<tag>           WaitingTagItem: the tag points at it upstream
    bandwidth|<project's number>     line                   BandwidthItem: until when it is booked
    connections|<project's number>   <place>                PlaceItem: a connection to the project's upstream registry
    fill|<registry>|<digest>    request|<repository>        FillRequestItem: it wants the blob of the upstream registry
    fill|<registry>|<digest>    lease                       FillLeaseItem: who fetches it, and the upload that it is in
    counter                execution, schedule              CounterItem: the last number given out

Events: what was done, and what webhooks are still to be told of it.

    log|<shard>            <time>|<event id>                        EntryItem: the whole audit log, 8 shards
    project-log|<project's number>   <time>|<event id>              EntryItem: the same, a project's
    count                  <partition>                              CountItem: how many entries are that old
    outbox|<shard>         <time>|<event id>                        OutboxItem: not dispatched yet
    delivery|<policy>      <number>                                 DeliveryItem: an event's sending to a target
    undelivered|<shard>    <number>|<policy>                        UndeliveredItem: it has not ended yet
    trigger|<policy>       <event>                                  TriggerItem: when it was the last time

Numbers in sort keys are padded with zeros to ten digits, so that their order is the numbers'.

The sparse index `candidates` of Blobs and of Repositories holds only what may be garbage: its hash key `candidate` is
`<shard>` (0..15, by digest), its range key `candidate_since` is in milliseconds since 1970.

Every write of a blob, a link or a manifest gives it a fresh `version` (random, never reused), and every conditional
write names the version that it read, so that no decision is carried out on an item that has changed since.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.storage.tables.accounts import AccountCounterItem as AccountCounterItem
    from chalicelib.storage.tables.accounts import ConfigurationItem as ConfigurationItem
    from chalicelib.storage.tables.accounts import FailuresItem as FailuresItem
    from chalicelib.storage.tables.accounts import GroupItem as GroupItem
    from chalicelib.storage.tables.accounts import MemberItem as MemberItem
    from chalicelib.storage.tables.accounts import MembershipItem as MembershipItem
    from chalicelib.storage.tables.accounts import NumberItem as NumberItem
    from chalicelib.storage.tables.accounts import RobotItem as RobotItem
    from chalicelib.storage.tables.accounts import RobotNumberItem as RobotNumberItem
    from chalicelib.storage.tables.accounts import SessionItem as SessionItem
    from chalicelib.storage.tables.accounts import UserCountItem as UserCountItem
    from chalicelib.storage.tables.accounts import UserItem as UserItem
    from chalicelib.storage.tables.blobs import BlobItem as BlobItem
    from chalicelib.storage.tables.blobs import EdgeItem as EdgeItem
    from chalicelib.storage.tables.blobs import LinkItem as LinkItem
    from chalicelib.storage.tables.events import CountItem as CountItem
    from chalicelib.storage.tables.events import DeliveryItem as DeliveryItem
    from chalicelib.storage.tables.events import EntryItem as EntryItem
    from chalicelib.storage.tables.events import OutboxItem as OutboxItem
    from chalicelib.storage.tables.events import TriggerItem as TriggerItem
    from chalicelib.storage.tables.events import UndeliveredItem as UndeliveredItem
    from chalicelib.storage.tables.item import connection as connection
    from chalicelib.storage.tables.jobs import BandwidthItem as BandwidthItem
    from chalicelib.storage.tables.jobs import ExecutionItem as ExecutionItem
    from chalicelib.storage.tables.jobs import ExecutionNumberItem as ExecutionNumberItem
    from chalicelib.storage.tables.jobs import FillLeaseItem as FillLeaseItem
    from chalicelib.storage.tables.jobs import FillRequestItem as FillRequestItem
    from chalicelib.storage.tables.jobs import JobCounterItem as JobCounterItem
    from chalicelib.storage.tables.jobs import LogItem as LogItem
    from chalicelib.storage.tables.jobs import OccasionItem as OccasionItem
    from chalicelib.storage.tables.jobs import PauseItem as PauseItem
    from chalicelib.storage.tables.jobs import PlaceItem as PlaceItem
    from chalicelib.storage.tables.jobs import ReplyItem as ReplyItem
    from chalicelib.storage.tables.jobs import ScheduleItem as ScheduleItem
    from chalicelib.storage.tables.jobs import TaskItem as TaskItem
    from chalicelib.storage.tables.jobs import UnfinishedItem as UnfinishedItem
    from chalicelib.storage.tables.jobs import WaitingTagItem as WaitingTagItem
    from chalicelib.storage.tables.projects import AllowlistItem as AllowlistItem
    from chalicelib.storage.tables.projects import ChargeItem as ChargeItem
    from chalicelib.storage.tables.projects import EndpointItem as EndpointItem
    from chalicelib.storage.tables.projects import EndpointNameItem as EndpointNameItem
    from chalicelib.storage.tables.projects import LabelItem as LabelItem
    from chalicelib.storage.tables.projects import LabelNameItem as LabelNameItem
    from chalicelib.storage.tables.projects import ListedItem as ListedItem
    from chalicelib.storage.tables.projects import ProjectCounterItem as ProjectCounterItem
    from chalicelib.storage.tables.projects import ProjectIdItem as ProjectIdItem
    from chalicelib.storage.tables.projects import ProjectItem as ProjectItem
    from chalicelib.storage.tables.projects import RecountItem as RecountItem
    from chalicelib.storage.tables.projects import RetentionItem as RetentionItem
    from chalicelib.storage.tables.projects import StoredItem as StoredItem
    from chalicelib.storage.tables.projects import SubscriberItem as SubscriberItem
    from chalicelib.storage.tables.projects import TotalItem as TotalItem
    from chalicelib.storage.tables.projects import TotalsItem as TotalsItem
    from chalicelib.storage.tables.projects import TrafficItem as TrafficItem
    from chalicelib.storage.tables.projects import WebhookItem as WebhookItem
    from chalicelib.storage.tables.repositories import ArtifactItem as ArtifactItem
    from chalicelib.storage.tables.repositories import CatalogItem as CatalogItem
    from chalicelib.storage.tables.repositories import LabelledItem as LabelledItem
    from chalicelib.storage.tables.repositories import ManifestItem as ManifestItem
    from chalicelib.storage.tables.repositories import NameItem as NameItem
    from chalicelib.storage.tables.repositories import ReferrerItem as ReferrerItem
    from chalicelib.storage.tables.repositories import SignedItem as SignedItem
    from chalicelib.storage.tables.repositories import TagItem as TagItem
    from chalicelib.storage.tables.uploads import UploadItem as UploadItem

_MODULES = {
    "accounts": (
        "AccountCounterItem",
        "ConfigurationItem",
        "FailuresItem",
        "GroupItem",
        "MemberItem",
        "MembershipItem",
        "NumberItem",
        "RobotItem",
        "RobotNumberItem",
        "SessionItem",
        "UserCountItem",
        "UserItem",
    ),
    "blobs": (
        "BlobItem",
        "EdgeItem",
        "LinkItem",
    ),
    "events": (
        "CountItem",
        "DeliveryItem",
        "EntryItem",
        "OutboxItem",
        "TriggerItem",
        "UndeliveredItem",
    ),
    "item": ("connection",),
    "jobs": (
        "BandwidthItem",
        "ExecutionItem",
        "ExecutionNumberItem",
        "FillLeaseItem",
        "FillRequestItem",
        "JobCounterItem",
        "LogItem",
        "OccasionItem",
        "PauseItem",
        "PlaceItem",
        "ReplyItem",
        "ScheduleItem",
        "TaskItem",
        "UnfinishedItem",
        "WaitingTagItem",
    ),
    "projects": (
        "AllowlistItem",
        "ChargeItem",
        "EndpointItem",
        "EndpointNameItem",
        "LabelItem",
        "LabelNameItem",
        "ListedItem",
        "ProjectCounterItem",
        "ProjectIdItem",
        "ProjectItem",
        "RecountItem",
        "RetentionItem",
        "StoredItem",
        "TotalItem",
        "TotalsItem",
        "TrafficItem",
        "SubscriberItem",
        "WebhookItem",
    ),
    "repositories": (
        "ArtifactItem",
        "CatalogItem",
        "LabelledItem",
        "ManifestItem",
        "NameItem",
        "ReferrerItem",
        "SignedItem",
        "TagItem",
    ),
    "uploads": ("UploadItem",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A model, imported when it is first asked for: with PynamoDB they are a fifth of a start, and reads do without.

    Raises AttributeError.
    """
    if name not in _MODULE_OF:
        raise AttributeError(f"there is no {name} among the tables' items")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
