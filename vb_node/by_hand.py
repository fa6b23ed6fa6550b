"""``vb-node process``: an application over a folder, without network and ledger."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

from vb_node import config as configuration
from vb_node import log, show
from vb_node.config import Settings
from vb_node.dicom.nifti import export_source
from vb_node.dicom.read import Instance, read_folder
from vb_node.dicom.viewers import PROFILES
from vb_node.dicom.volume import load_series
from vb_node.errors import ConfigError, Unfit
from vb_node.exit_status import DONE, FAILED, NOT_ANALYSED
from vb_node.pipeline.application import Application, Case, Outcome, find, installed
from vb_node.pipeline.select import Choice
from vb_node.rules import candidate
from vb_node.runtime.assemble import job_key, lineage_key

RECORD, NIFTI = "result.json", "series.nii.gz"
LONGEST_SHOWN, SEE = 1000, f" ... (all of it: {RECORD})"


def process_folder(
    folder: Path, out: Path, name: str, config: Path | None, *, viewer_profile: str, with_nifti: bool
) -> int:
    """Choose the series of a folder, run an application over it, and write what it gives; return the exit status."""
    log.start("WARNING")
    if viewer_profile not in PROFILES:
        raise ConfigError(f"a viewer profile expected, one of {', '.join(PROFILES)}; {viewer_profile!r} came")
    settings = configuration.load(config) if config else Settings()
    application = find(installed(), name)
    study = read_folder(folder) if folder.is_dir() else {}
    if not study:
        count = sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0
        held = f"{count} files, and none of them can be read" if count else "none"
        raise ConfigError(f"a folder with DICOM files expected, {folder} holds {held}")
    plan = application.plan(settings)
    choices, plan = _choose(application, study, plan)
    show.table(
        "Series",
        ["series", "taken", "why"],
        [[choice.series_instance_uid, choice.is_taken, choice.reason] for choice in choices],
    )
    taken = [choice.series_instance_uid for choice in choices if choice.is_taken]
    _clear(out)
    if not taken:
        (out / RECORD).unlink(missing_ok=True)
        show.console.print("No series was taken: nothing was written.")
        return FAILED
    instances = study[taken[0]]
    outcome, unfit = _run(application, instances, plan, settings, out, PROFILES[viewer_profile])
    files = [f"{rank}-{role.lower()}.dcm" for rank, (role, _) in enumerate(outcome.objects)]
    _tell(out, outcome, [*files, NIFTI] if with_nifti else files)
    if with_nifti:
        _write_nifti(instances, out)
    for file, (_, dataset) in zip(files, outcome.objects, strict=True):
        dataset.save_as(out / file, enforce_file_format=True)
    roles = [role for role, _ in outcome.objects]
    show.table("Results", ["role", "file"], [[role, str(out / file)] for role, file in zip(roles, files, strict=True)])
    told = [(name, shorten(str(value), LONGEST_SHOWN, placeholder=SEE)) for name, value in outcome.summary.items()]
    show.table("Summary", ["", ""], told)
    if unfit is not None:
        show.console.print(f"Not analysed: {unfit}", highlight=False, markup=False)
    return DONE if unfit is None else NOT_ANALYSED


def _choose(
    application: Application, study: Mapping[str, Sequence[Instance]], plan: dict[str, Any]
) -> tuple[list[Choice], dict[str, Any]]:
    """Let the application choose; a folder with one series names it, and lack of contrast is then no obstacle."""
    candidates = [candidate(instances) for instances in study.values()]
    choices = application.select(candidates, plan)
    if len(study) == 1 and not choices[0].is_taken and "must_have_contrast" in plan:
        by_hand = plan | {"must_have_contrast": False}
        return application.select(candidates, by_hand), by_hand
    return choices, plan


def _run(
    application: Application,
    instances: Sequence[Instance],
    plan: Mapping[str, Any],
    settings: Settings,
    out: Path,
    left_out: Collection[str],
) -> tuple[Outcome, Unfit | None]:
    inputs = [
        (str(instance.header.SOPInstanceUID), hashlib.sha256(instance.path.read_bytes()).hexdigest())
        for instance in instances
    ]
    series_instance_uid = str(instances[0].header.SeriesInstanceUID)
    key = job_key(series_instance_uid, inputs, application, plan)
    created = _created(out, key)
    with show.progress() as bar:
        task = bar.add_task("starting", total=100)
        case = Case(
            paths=tuple(instance.path for instance in instances),
            plan=plan,
            job_key=f"{key} {created.isoformat()}",  # no ledger dates a run by hand: each run has instances of its own
            lineage_key=lineage_key(series_instance_uid, application.name),
            created=created,
            device=settings.work.device,
            progress=lambda step, fraction: bar.update(task, description=step, completed=int(100 * fraction)),
            device_serial_number=settings.node.ae_title,
            left_out=left_out,
        )
        try:
            return application.run(case), None
        except Unfit as error:
            return application.refuse(case, error), error


def _clear(out: Path) -> None:
    """Make the folder for the results; those of another run, or another profile, must not lie beside this one's.

    Only what the record names is removed: files of others may lie there too.
    """
    record = out / RECORD
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = json.loads(record.read_text("utf-8")) if record.is_file() else {}
        for earlier in known["files"] if known.keys() >= {"key", "created", "files"} else ():
            (out / Path(earlier).name).unlink(missing_ok=True)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"a folder for the results expected, {record} is none of their records") from error
    except OSError as error:
        raise ConfigError(f"a folder for the results expected, {out} cannot be one ({error.strerror})") from error


def _created(out: Path, key: str) -> datetime:
    """Date the results; the same run into the same folder keeps its date, so that it writes the same objects."""
    record = out / RECORD
    if record.is_file() and (known := json.loads(record.read_text("utf-8"))).get("key") == key:
        return datetime.fromisoformat(known["created"])
    created = datetime.now(UTC).astimezone().replace(microsecond=0)
    record.write_text(json.dumps({"key": key, "created": created.isoformat()}, indent=2), "utf-8")
    return created


def _tell(out: Path, outcome: Outcome, files: Sequence[str]) -> None:
    """Keep the summary and the names of the files beside the results, for programs."""
    record = out / RECORD
    told = json.loads(record.read_text("utf-8")) | {"files": files, "summary": outcome.summary}
    record.write_text(json.dumps(told, indent=2), "utf-8")


def _write_nifti(instances: Sequence[Instance], out: Path) -> None:
    try:
        series, volume = load_series(instance.path for instance in instances)
        converter = export_source(series, volume, out / NIFTI)
    except Unfit as error:
        show.console.print(f"No NIfTI: {error}", highlight=False, markup=False)
    else:
        show.console.print(f"NIfTI by {converter}: {out / NIFTI}", highlight=False, markup=False)
