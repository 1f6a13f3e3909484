"""The files of `deploy/`: the manifest has KubeRay's fields and one version of Ray, scripts are shell, every command is one of Motley's."""

import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -r tests/python/requirements-ray.txt")

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

POD = {"containers": list, "volumes": list}
TEMPLATE = {"spec": POD}
# Of the fields that KubeRay 1.5's reference gives for ray.io/v1, those that the manifest may use, with their types; `str: str` is a map of
# texts. An API server refuses any other type, and drops a field that it does not know without a word.
RAY_JOB = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": str},
    "spec": {
        "entrypoint": str,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": "token"},
            "headGroupSpec": {"rayStartParams": {str: str}, "template": TEMPLATE},
            "workerGroupSpecs": [
                {
                    "groupName": str,
                    "replicas": int,
                    "minReplicas": int,
                    "maxReplicas": int,
                    "rayStartParams": {str: str},
                    "template": TEMPLATE,
                }
            ],
        },
    },
}
# Core v1's container and volume claim.
CONTAINER = {
    "name": str,
    "image": str,
    "resources": {"requests": {str: str}, "limits": {str: str}},
    "volumeMounts": [{"name": str, "mountPath": str}],
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": str},
    "spec": {"accessModes": [str], "resources": {"requests": {str: str}}},
}


def must_fit(found, shape, where="manifest"):
    """Every field is one of the shape's, none of the shape's is missing, and each has its type."""
    if isinstance(shape, dict) and str in shape:
        assert all(isinstance(k, str) and isinstance(v, shape[str]) for k, v in found.items()), (where, found)
    elif isinstance(shape, dict):
        assert set(found) == set(shape), (where, set(found) ^ set(shape))
        for name, inner in shape.items():
            must_fit(found[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        assert found, where
        for item in found:
            must_fit(item, shape[0], f"{where}[]")
    elif isinstance(shape, type):
        assert type(found) is shape, (where, found)
    else:
        assert found == shape, (where, found)


@pytest.fixture(scope="module")
def manifest():
    return list(yaml.safe_load_all((DEPLOY / "ray-job.yaml").read_text()))


def test_the_manifest_has_the_fields_of_kuberay(manifest):
    job, claim = manifest
    must_fit(job, RAY_JOB)
    must_fit(claim, CLAIM)
    cluster = job["spec"]["rayClusterSpec"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        must_fit(container, CONTAINER)
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]} == {claim["metadata"]["name"]}
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_a_field_or_type_that_is_not_kuberays_is_found(manifest):
    broken = yaml.safe_load_all((DEPLOY / "ray-job.yaml").read_text().replace("minReplicas", "minReplica"))
    with pytest.raises(AssertionError, match="minReplica"):
        must_fit(next(broken), RAY_JOB)
    broken = yaml.safe_load_all((DEPLOY / "ray-job.yaml").read_text().replace('num-cpus: "0"', "num-cpus: 0"))
    with pytest.raises(AssertionError, match="num-cpus"):
        must_fit(next(broken), RAY_JOB)


def test_one_version_of_ray_everywhere(manifest):
    version = manifest[0]["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"rayproject/ray:{version}-py" in (DEPLOY / "Dockerfile").read_text()
    assert f"ray[tune]=={version}" in (ROOT / "tests" / "python" / "requirements-ray.txt").read_text()


def commands(text):
    """The words after `python -m motley.ray`, and those that a shell's arrays `words=(...)` hold, commented ones too."""
    found = re.findall(r"python -m motley\.ray (train [^\n\"]*|sweep [^\n\"]*)", text)
    found += re.findall(r"words=\(([^)]*)\)", text)
    return [shlex.split(words) for words in found]


def test_every_command_is_understood(manifest):
    motley_ray = pytest.importorskip("motley.ray", reason="the package with Ray is not installed: pip install '.[ray]'")
    job = manifest[0]["spec"]["entrypoint"]
    shell = (DEPLOY / "ray.sbatch").read_text()
    understood = [motley_ray._parser().parse_args(words) for words in [*commands(job), *commands(shell)]]
    assert len(understood) == 4
    for args in understood:
        if args.command == "train" and args.words:
            done = subprocess.run([shutil.which("motley"), "config", *args.words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        elif args.command == "sweep":
            assert (ROOT / args.plan).is_file()


def test_scripts_are_shell():
    assert subprocess.run(["bash", "-n", str(DEPLOY / "ray.sbatch")], check=False).returncode == 0
    directives = [line for line in (DEPLOY / "ray.sbatch").read_text().splitlines() if line.startswith("#SBATCH ")]
    assert len(directives) >= 5 and all(re.fullmatch(r"#SBATCH --[a-z-]+=\S+", line) for line in directives), directives
