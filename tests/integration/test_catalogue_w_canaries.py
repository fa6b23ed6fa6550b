"""Catalogue W-18 of RELIABILITY.md, section 4: patient data goes to no log, no metric and no error."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from listener_process import instance
from people import Browser, add_job, add_users, program
from processes import wait_until
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from web_process import WebProcess

from storage import audit
from storage.schema import Instance

FIELDS = """
PatientName PatientID IssuerOfPatientID PatientBirthName OtherPatientNames PatientMotherBirthName
PatientAddress PatientTelephoneNumbers MilitaryRank BranchOfService MedicalRecordLocator CountryOfResidence
RegionOfResidence EthnicGroup Occupation AdditionalPatientHistory PatientReligiousPreference PatientComments
ResponsiblePerson ResponsibleOrganization PatientSpeciesDescription PatientBreedDescription Allergies
MedicalAlerts SpecialNeeds PatientState ReferringPhysicianName ReferringPhysicianAddress
ReferringPhysicianTelephoneNumbers PhysiciansOfRecord PerformingPhysicianName NameOfPhysiciansReadingStudy
OperatorsName ConsultingPhysicianName AdmittingDiagnosesDescription AdmissionID IssuerOfAdmissionID
RequestingPhysician RequestingService RequestedProcedureDescription ReasonForStudy InstitutionName
InstitutionAddress InstitutionalDepartmentName StationName StudyDescription SeriesDescription ProtocolName
AccessionNumber StudyID
"""
CANARIES = {keyword: f"CANARY{number:02}" for number, keyword in enumerate(re.findall(r"\w+", FIELDS))}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path / "web").start()
    add_users(process.database)
    yield process
    process.stop()


def _marked() -> Dataset:
    """Make an instance with a canary in each of fifty fields."""
    dataset = instance()
    for keyword, canary in CANARIES.items():
        dataset.add_new(tag_for_keyword(keyword), dictionary_VR(keyword), canary)
    return dataset


def test_w_18_fifty_canaries_come_in_and_none_shows(web: WebProcess) -> None:
    taken, refused = _marked(), _marked()
    del refused.StudyInstanceUID
    assert len(set(CANARIES.values())) == 50

    answers = [web.post([taken]), web.post([refused]), web.post([taken]), _ask_about_patients(web)]
    wait_until(lambda: _is_known(web, taken), 10, "the instance is in the ledger")
    told = [answer.text for answer in answers] + [httpx2.get(f"{web.url}/{path}").text for path in ("metrics", "ready")]
    shown = web.log.read_text() + "".join(told)

    assert [name for name, canary in CANARIES.items() if canary in shown] == []
    assert "instance refused" in shown


def _ask_about_patients(web: WebProcess) -> httpx2.Response:
    """Ask for a patient by name and number, rightly and wrongly; give the answer to a job that cannot be cancelled."""
    patient = {"patient_id": CANARIES["PatientID"], "accession_number": CANARIES["AccessionNumber"]}
    job_id = add_job(web.database, **patient)
    with program(web.url, "admin") as client:
        assert CANARIES["PatientID"] in client.get(f"/api/v1/jobs/{job_id}").text  # who may see does see
        client.get("/api/v1/jobs", params={"patient_id": CANARIES["PatientID"], "limit": "0"})
        client.get("/api/v1/audit", params={"accession": CANARIES["AccessionNumber"]})
        client.post(f"/api/v1/jobs/{job_id}/cancel")
        answer = client.post(f"/api/v1/jobs/{job_id}/cancel")
    with Browser(web.url) as browser:
        browser.log_in(CANARIES["PatientName"], CANARIES["PatientName"])
    assert answer.status_code == 409
    return answer


def _is_known(web: WebProcess, dataset: Dataset) -> bool:
    with web.database.read() as session:
        refusals = audit.search(session, since=None, until=None, limit=10, event="instance refused")
        return session.get(Instance, dataset.SOPInstanceUID) is not None and len(refusals) == 1
