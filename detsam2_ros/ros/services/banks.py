# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The services of memory banks, and `reset`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from detsam2_msgs.srv import ListMemoryBanks, LoadMemoryBank, SaveMemoryBank
from detsam2_ros.engine import MemoryBank
from detsam2_ros.ros.services.bank_directory import confined, list_banks
from detsam2_ros.ros.services.base import RequestError, ServiceBase, known_camera, one_camera
from detsam2_ros.ros.session import Session, SessionHolder
from detsam2_ros.words import counted


@dataclass(frozen=True)
class LoadedBank:
    """A file that a camera's bank, or a part of the bank, was loaded from."""

    camera: str
    path: str
    object_count: int
    entry_count: int


class BankServices(ServiceBase):
    """Loads, saves, lists and unloads memory banks, and resets the streams."""

    quiet = ('list_memory_banks',)

    def __init__(self, node: Node, held: SessionHolder):
        super().__init__(node, held)
        self._loaded: list[LoadedBank] = []
        # Loading and saving wait for the running pass. One of them runs at a time, so they occupy
        # at most one thread of the executor. The other services answer at once.
        waiting, instant = MutuallyExclusiveCallbackGroup(), ReentrantCallbackGroup()
        for kind, name, answer, group in (
            (LoadMemoryBank, 'load_memory_bank', self._load, waiting),
            (SaveMemoryBank, 'save_memory_bank', self._save, waiting),
            (ListMemoryBanks, 'list_memory_banks', self._list, instant),
            (Trigger, 'unload_memory_bank', self._unload, instant),
            (Trigger, 'reset', self._reset, instant),
        ):
            node.create_service(
                kind, f'~/{name}', self._guarded(name, answer), callback_group=group)

    @property
    def loaded(self) -> list[LoadedBank]:
        """The files in use, camera by camera."""
        return list(self._loaded)

    def load_initial(self, session: Session) -> None:
        """Load the bank that the parameter memory_bank names; raises EngineError."""
        self._loaded = []
        if session.parameters.memory_bank:
            self._log.info(self._load_file(session, session.parameters.memory_bank, '', True)[2])

    def forget(self) -> None:
        """Note that no bank is in use any more."""
        self._loaded = []

    def _load(self, session: Session, request: Any, response: Any) -> None:
        bank, class_ids, response.message = self._load_file(
            session, request.path, request.camera, request.replace)
        for key, banked in bank.objects().items():
            response.object_keys.append(key)
            response.class_ids.append(class_ids.get(key, banked.class_id))
            response.class_names.append(banked.class_name)
            response.entry_counts.append(len(banked.entries))
        response.success = True

    def _load_file(
        self, session: Session, path: str, camera: str, replacing: bool
    ) -> tuple[MemoryBank, dict[str, int], str]:
        parameters = session.parameters
        cameras = [known_camera(session, camera)] if camera else list(parameters.camera_names)
        file = confined(parameters.bank_directory, path)
        bank = MemoryBank.load(file, parameters.max_bank_bytes)
        name = file.relative_to(parameters.bank_directory.resolve()).as_posix()
        counts = len(bank.objects()), len(bank.entries)

        def note() -> None:
            kept = [b for b in self._loaded
                    if b.camera not in cameras or (not replacing and b.path != name)]
            self._loaded = kept + [LoadedBank(c, name, *counts) for c in cameras]

        class_ids = session.load_bank(cameras, bank, replacing, note)
        where = f"camera '{camera}'" if camera else 'all cameras'
        return bank, class_ids, (
            f"loaded '{name}' for {where}: {counted(counts[0], 'object')} with "
            f"{counted(counts[1], 'entry', 'entries')}, "
            f'{"in place of" if replacing else "in addition to"} the bank in use')

    def _save(self, session: Session, request: Any, response: Any) -> None:
        parameters = session.parameters
        camera = one_camera(session, request.camera)
        file = confined(parameters.bank_directory, request.path)
        if file.exists() and not request.overwrite:
            raise RequestError(
                f"'{request.path}' exists already; set overwrite, or name another file")
        most = request.max_entries_per_object or 2**31
        bank = session.export_bank(camera, most, request.new_only, request.dormant)
        if not bank.entries:
            asleep = session.export_bank(camera, most, request.new_only, dormant=True).objects()
            raise RequestError(_nothing_to_save(request.new_only, len(asleep)))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(
                f'the folder {file.parent} cannot be made: {error.strerror}; make it, or set '
                f'memory_bank_directory to one that can be written') from error
        bank.save(file, overwrite=request.overwrite)
        response.object_count = len(bank.objects())
        response.entry_count = len(bank.entries)
        response.file_bytes = file.stat().st_size
        response.message = (
            f'saved {counted(response.object_count, "object")} with '
            f'{counted(response.entry_count, "entry", "entries")}, '
            f"{response.file_bytes} bytes, to '{file}'")
        response.success = True

    def _list(self, session: Session, request: Any, response: Any) -> None:
        parameters = session.parameters
        directory = parameters.bank_directory
        response.directory = str(directory)
        found = list_banks(directory, parameters.max_bank_bytes, session.identity)
        for bank in found:
            entry_counts = bank.info.entry_counts if bank.info else {}
            response.paths.append(bank.path)
            response.file_bytes.append(bank.file_bytes)
            response.created.append(bank.info.created if bank.info else '')
            response.model_names.append(bank.info.model.name if bank.info else '')
            response.object_counts.append(len(entry_counts))
            response.entry_counts.append(sum(entry_counts.values()))
            response.problems.append(bank.problem)
        for loaded in self._loaded:
            response.loaded_cameras.append(loaded.camera)
            response.loaded_paths.append(loaded.path)
            response.loaded_object_counts.append(loaded.object_count)
            response.loaded_entry_counts.append(loaded.entry_count)
        usable = sum(not bank.problem for bank in found)
        response.message = (
            f'{counted(len(found), "memory bank")} in {directory}, {usable} can be loaded; '
            f'{len(self._loaded)} in use')
        response.success = True

    def _unload(self, session: Session, request: Any, response: Any) -> None:
        names = sorted({bank.path for bank in self._loaded})
        self._loaded = []
        session.unload_banks(self.forget)  # forgets again: a load that waited may come first
        response.message = (
            f'unloading {", ".join(names)} before the next inference' if names
            else 'no memory bank is in use')
        response.success = True

    def _reset(self, session: Session, request: Any, response: Any) -> None:
        session.worker.reset()
        response.message = 'the streams restart before the next frame; memory banks stay in use'
        response.success = True


def _nothing_to_save(new_only: bool, dormant: int) -> str:
    besides = ' besides what the memory bank in use holds' if new_only else ''
    if dormant:
        return (
            f'nothing to save: no living object remembers anything{besides}, but '
            f'{counted(dormant, "dormant object")} would be saved; set dormant')
    return f'nothing to save: no object has a conditioned memory{besides}'
