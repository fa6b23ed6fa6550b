"""UIDs that follow from what they name."""

from pydicom.uid import UID

from vb_node.dicom.uid import derive


def test_the_same_name_gives_the_same_uid() -> None:
    assert derive("job", "SEG", 1) == derive("job", "SEG", 1)


def test_key_role_and_index_each_give_another_uid() -> None:
    made = {
        derive("job", "SEG"),
        derive("bjo", "SEG"),
        derive("job", "SR"),
        derive("job", "SEG", 1),
        derive("jobS", "EG"),
    }

    assert len(made) == 5


def test_a_uid_is_valid_and_stands_under_2_25() -> None:
    made = [derive("job", "SEG", index) for index in range(2000)]

    assert all(UID(one).is_valid and one.startswith("2.25.") and len(one) <= 64 for one in made)


def test_a_uid_never_changes_between_versions() -> None:
    assert derive("job-1", "SR instance") == "2.25.145492053118767335564539048519817098024"
