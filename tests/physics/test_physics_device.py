import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from vfctl.errors import MissingError, UsageError
from vfctl.physics.device import DEVICES, device_name, use_device

needs_no_gpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is a GPU")


@pytest.fixture(autouse=True)
def same_platforms_afterwards():
    before = jax.config.jax_platforms
    yield
    jax.config.update("jax_platforms", before)


@needs_no_gpu
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_is_chosen_and_named(device):
    assert use_device(device) == "cpu"


@needs_no_gpu
def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_install():
    with pytest.raises(MissingError, match="JAX finds no usable GPU") as caught:
        use_device("gpu")
    assert "vfctl[cuda]" in caught.value.hint
    assert caught.value.exit_code == 1


def test_another_device_is_refused():
    with pytest.raises(UsageError) as caught:
        use_device("tpu")
    assert caught.value.hint == f"the devices are {', '.join(DEVICES)}"


def test_a_gpu_is_named_with_its_kind(monkeypatch):
    gpu = SimpleNamespace(platform="gpu", device_kind="NVIDIA H100")
    monkeypatch.setattr(jax, "devices", lambda: [gpu])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert use_device("gpu") == use_device("auto") == device_name() == "gpu (NVIDIA H100)"
    with pytest.raises(MissingError, match=r"computes on gpu \(NVIDIA H100\) already"):
        use_device("cpu")


def test_a_gpu_that_does_not_work_is_an_error_if_it_was_asked_for_else_a_warning(monkeypatch, caplog):
    def broken():
        if jax.config.jax_platforms == "cpu":
            return "cpu"
        raise RuntimeError("Unable to initialize backend 'cuda': the driver is too old")

    jax.config.update("jax_platforms", None)
    monkeypatch.setattr(jax, "default_backend", broken)
    with pytest.raises(MissingError, match="the driver is too old"):
        use_device("gpu")
    use_device("auto")
    assert "computing on the CPU" in caplog.text


@pytest.mark.processes
@pytest.mark.parametrize(
    ("platforms", "says"), [("cpu", "cpu"), ("", "cpu"), ("cuda", "JAX_PLATFORMS=cuda and there is none such")]
)
@needs_no_gpu
def test_auto_honours_the_environment_of_jax_and_nothing_else_is_said(platforms, says):
    program = (
        "from vfctl.errors import MissingError\n"
        "from vfctl.physics.device import use_device\n"
        "try: print(use_device('auto'))\n"
        "except MissingError as error: print(error)"
    )
    environment = {"JAX_PLATFORMS": platforms, "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=environment
    )
    assert says in run.stdout
    assert run.stderr == ""
