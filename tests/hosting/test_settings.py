"""The hosting page and its settings: what they name exists, and every lesson fits their limits."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.kit import hub
from course_lib.commands.bootstrap import pins
from course_lib.commands.refresh import MEASURED
from tests.notebooks import gate

ROOT = Path(__file__).parents[2]
HOSTING = ROOT / "hosting"
PAGE = (HOSTING / "README.md").read_text(encoding="utf-8")
TEXT = (HOSTING / "values.yaml").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
SERVER_GB = 0.2  # what the page says that a user's server takes

# The settings of chart 4.4.0 that the file uses, as the chart's own values.yaml and schema name
# them. Below `hub.config` stand traits of the class that is named, below `extraEnv` variables.
KEYS = {
    "hub.activeServerLimit": int,
    "hub.concurrentSpawnLimit": int,
    "hub.config.Authenticator.admin_users": list,
    "hub.config.Authenticator.allowed_users": list,
    "hub.config.FirstUseAuthenticator.create_users": bool,
    "hub.config.JupyterHub.authenticator_class": str,
    "hub.config.KubeSpawner.working_dir": str,
    "proxy.https.enabled": bool,
    "proxy.https.hosts": list,
    "proxy.https.letsencrypt.contactEmail": str,
    "singleuser.image.name": str,
    "singleuser.image.tag": str,
    "singleuser.memory.guarantee": str,
    "singleuser.memory.limit": str,
    "singleuser.cpu.guarantee": float,
    "singleuser.cpu.limit": int,
    "singleuser.extraEnv.OMP_NUM_THREADS": str,
    "singleuser.defaultUrl": str,
    "singleuser.lifecycleHooks.postStart.exec.command": list,
    "singleuser.storage.capacity": str,
    "singleuser.startTimeout": int,
    "singleuser.networkPolicy.enabled": bool,
    "singleuser.networkPolicy.egressAllowRules.nonPrivateIPs": bool,
    "singleuser.networkPolicy.egressAllowRules.privateIPs": bool,
    "singleuser.networkPolicy.egressAllowRules.cloudMetadataServer": bool,
    "singleuser.cloudMetadata.blockWithIptables": bool,
    "prePuller.hook.enabled": bool,
    "prePuller.continuous.enabled": bool,
    "scheduling.userScheduler.enabled": bool,
    "scheduling.podPriority.enabled": bool,
    "scheduling.userPlaceholder.enabled": bool,
    "scheduling.userPlaceholder.replicas": int,
    "cull.enabled": bool,
    "cull.timeout": int,
    "cull.every": int,
}
# The settings that The Littlest JupyterHub 2.0 documents for `tljh-config`.
TLJH = {"limits.memory", "limits.cpu", "services.cull.timeout", "user_environment.default_app"}
TLJH |= {"https.enabled", "https.letsencrypt.email", "https.letsencrypt.domains"}


class Strict(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; the standard loader drops one."""


def _mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key stands twice among {keys}"
    return loader.construct_mapping(node, deep=True)


Strict.add_constructor("tag:yaml.org,2002:map", _mapping)
VALUES = yaml.load(TEXT, Strict)


def leaves(tree, path=""):
    """{dotted path: value} of everything that is not a mapping."""
    found = {}
    for key, value in tree.items():
        here = f"{path}.{key}" if path else key
        found |= leaves(value, here) if isinstance(value, dict) else {here: value}
    return found


def size(text):
    """Bytes of a quantity such as 1G or 2Gi."""
    number, unit = re.fullmatch(r"([\d.]+)([GM]i?)", text).groups()
    return float(number) * {"G": 1e9, "Gi": 2**30, "M": 1e6, "Mi": 2**20}[unit]


def test_the_values_are_settings_of_the_chart_with_their_types():
    found = leaves(VALUES)
    assert {path: type(value) for path, value in found.items()} == KEYS
    with pytest.raises(AssertionError, match="stands twice"):
        yaml.load("a: 1\na: 2\n", Strict)


def test_every_lesson_fits_the_limit_that_everybody_gets():
    memory = VALUES["singleuser"]["memory"]
    assert (memory["guarantee"], memory["limit"]) == ("1G", "2G")
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    largest = max(one["peak_mb"] for one in measured.values()) / 1000
    assert largest + SERVER_GB < size(memory["limit"]) / 1e9
    assert "limits.memory 2G" in PAGE


def test_the_tables_of_sizes_follow_from_the_rule():
    rule = "users at the same time × (kernel + 0.2 GB) + 1 GB"
    assert rule in PAGE
    rows = re.findall(r"^\| (\d+) \| (\d+) GB \| (\d+) GB \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for users, small, any_lesson in rows:
        assert int(small) == round(int(users) * (0.8 + SERVER_GB) + 1)
        assert int(any_lesson) == round(int(users) * (1.5 + SERVER_GB) + 1)


def test_a_user_server_takes_no_more_than_the_page_says():
    file = ROOT / "benchmarks" / "results" / "hub_users.json"
    if not file.exists():
        pytest.skip("`python -m benchmarks hub_users` has not measured it here")
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
    assert max(run["server_peak_mb"] for run in runs) <= 1000 * SERVER_GB


def test_page_and_values_name_the_same_image_folder_and_version():
    image = VALUES["singleuser"]["image"]
    assert f"--image-name {image['name']}:{image['tag']}" in PAGE and image["tag"] != "latest"
    version = re.search(r"version ([\d.]+\d)", TEXT)[1]
    assert f"--version={version} " in PAGE and f"version {version} of the chart" in PAGE
    command = VALUES["singleuser"]["lifecycleHooks"]["postStart"]["exec"]["command"][-1]
    folder = re.search(r"--target-repo-dir (\S+)", PAGE)[1]
    home = VALUES["hub"]["config"]["KubeSpawner"]["working_dir"]
    assert f"cp -rn {folder}/notebooks {home}/" in command
    lesson = VALUES["singleuser"]["defaultUrl"].removeprefix("/lab/tree/")
    assert (ROOT / lesson).exists() and f'"/lab/tree/{lesson}"' in PAGE


def test_what_a_student_does_cannot_reach_the_internet():
    rules = VALUES["singleuser"]["networkPolicy"]
    assert rules["enabled"] and not any(rules["egressAllowRules"].values())


def test_the_copy_hook_keeps_what_a_student_has_written(tmp_path):
    course, home = tmp_path / "course", tmp_path / "home"
    (course / "notebooks").mkdir(parents=True)
    (home / "notebooks").mkdir(parents=True)
    (course / "notebooks" / "01.ipynb").write_text("empty")
    (course / "notebooks" / "02.ipynb").write_text("new")
    (home / "notebooks" / "01.ipynb").write_text("mine")
    command = VALUES["singleuser"]["lifecycleHooks"]["postStart"]["exec"]["command"]
    script = command[-1].replace("/srv/course", str(course)).replace("/home/jovyan", str(home))
    subprocess.run([*command[:-1], script], check=True)
    assert (home / "notebooks" / "01.ipynb").read_text() == "mine"
    assert (home / "notebooks" / "02.ipynb").read_text() == "new"


def test_the_commands_are_those_that_the_hubs_document():
    shell = "\n".join(BLOCKS)
    used = set(re.findall(r"tljh-config (?:set|add-item) (\S+)", shell))
    assert used == TLJH
    assert f"torch=={pins(ROOT / 'constraints.txt')['torch']}" in shell
    for file in re.findall(r"(?:-c|-r|-f|--values) (\S+\.\w+)", shell):
        assert (ROOT / file).exists(), file
    for block in BLOCKS:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_its_links_lead_somewhere():
    assert gate.broken_links(HOSTING / "README.md", ROOT) == []


def test_the_snippet_for_the_littlest_jupyterhub_is_python():
    snippet = re.search(r"<<'END'\n(.*?)\nEND", PAGE, re.DOTALL)[1]
    assert compile(snippet, "course.py", "exec")


def test_repo2docker_takes_the_options_of_the_page(tmp_path):
    """The dry build: prints the Dockerfile, without Docker."""
    command = re.search(r"jupyter-repo2docker (--no-run.*?) \.\n", PAGE, re.DOTALL)[1]
    options = command.replace("\\\n", " ").replace("--no-run", "--no-build --debug").split()
    here = tmp_path / "repo"
    here.mkdir()
    for name in ("environment.yml", "postBuild", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, here)
    done = subprocess.run(
        [sys.executable, "-m", "repo2docker", *options, str(here)], capture_output=True, text=True
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-2000:]
    assert "postBuild" in printed and "REPO_DIR" in printed


def test_the_rehearsal_is_the_configuration_that_the_tests_start():
    assert f"-f {hub.CONFIG.relative_to(ROOT)}" in PAGE
    source = hub.CONFIG.read_text(encoding="utf-8")
    assert all(name in source for name in ("HUB_PASSWORD", "HUB_USERS", "HUB_FOLDER", "HUB_PORTS"))
