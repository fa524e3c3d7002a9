// Writes what a plan says, in two halves. First everything is written beside its place, under a hidden name, and
// brought to the disk: until then nothing has changed, and a failure takes all of it away again. Then each file is put
// in place by one rename(2), which a crash leaves done or not done: old or new, never a part of one.
//
// - What is replaced changes names with the new file in one step, and then gets the name that it is kept under. Where
//   the file system cannot do that, the old file gets its second name before the new one takes its place.
// - A database is settled before: what SQLite keeps beside it belongs to it, and would spoil the new one. Where it is
//   too damaged for that it is renamed with what is beside it, before the new one comes.

internal import CLinux
internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternStore

final class RestoreWriter {
    private let root: RestoreRoot
    private let plan: RestorePlan
    private let isInterrupted: () -> Bool
    private let steps: [String: RestorePlan.Step]  // by where they were

    private var folders: [RestorePlan.Folder] = []
    /// Files whose temporary name is ours to remove.
    private var staged: Set<String> = []  // targets
    private var current: StagedFile?
    /// Databases that could not be settled.
    private var unsettled: Set<String> = []
    /// What is in place now.
    private(set) var placed: [RestorePlan.Step] = []

    /// - Parameter isInterrupted: whether somebody wants an end; asked while nothing is in place yet.
    init(_ plan: RestorePlan, in root: RestoreRoot, isInterrupted: @escaping () -> Bool) {
        self.plan = plan
        self.root = root
        self.isInterrupted = isInterrupted
        steps = Dictionary(plan.steps.map { ($0.entry.original, $0) }) { first, _ in first }
    }

    // MARK: First half

    /// Makes the folders. Called before `take`.
    func begin() throws(CommandFailure) {
        for folder in plan.folders {
            try root.make(folder)
            folders.append(folder)
        }
    }

    /// A piece of the archive.
    func take(_ piece: ArchivePiece) throws(CommandFailure) {
        if isInterrupted() { throw CommandFailure(.unavailable, "interrupted; nothing was changed") }
        switch piece {
        case .begin(let entry):
            guard let step = steps[entry.original], step.writes else { return }
            current = try StagedFile(step, in: try folder(of: step), shown: root.shown(step.target))
            staged.insert(step.target)
        case .octets(let octets): try current?.write(octets)
        case .end:
            try current?.finish()
            current = nil
        }
    }

    /// Settles the databases that will be replaced; the last thing that may fail for a reason that can be foreseen.
    func settle() throws(CommandFailure) {
        for step in plan.kept where step.entry.state?.isSQLite == true {
            let folder = try folder(of: step)
            let name = RestorePlan.name(of: step.target)
            var status = stat()
            guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFREG else {
                unsettled.insert(step.target)
                continue
            }
            let path = try realPath(of: folder)
            do throws(DatabaseError) {
                try LedgerInspection.settle("\(path)/\(name)")
                unlinkat(folder, name + "-shm", 0)  // an index of the log that is no more
                if RestoreRoot.companions.contains(where: { root.exists(name + $0, in: folder) }) {
                    unsettled.insert(step.target)  // of none of its own
                }
            } catch {
                switch error.meaning {
                case .busy:
                    throw CommandFailure(
                        .unavailable, "\(root.shown(step.target)): another program has it open; stop it and try again")
                case .damaged: unsettled.insert(step.target)
                default: throw CommandFailure(.unavailable, "\(root.shown(step.target)): \(error)")
                }
            }
        }
    }

    /// Takes away what was written beside its place.
    func discard() {
        current = nil
        for step in plan.steps where staged.remove(step.target) != nil {
            guard let folder = try? folder(of: step) else { continue }  // then there is nothing in it
            unlinkat(folder, step.temporaryName, 0)
        }
        if placed.isEmpty {
            for folder in folders.reversed() { root.remove(folder) }
            folders = []
        }
    }

    // MARK: Second half

    /// Puts everything in place. What fails ends it; what is in place stays.
    func place() throws(CommandFailure) {
        for step in plan.steps {
            let folder = try folder(of: step)
            switch step.change {
            case .same: continue
            case .rights: try setRights(step, in: folder)
            case .new:
                try setCompanionsAside(step, in: folder)
                try rename(step, in: folder)
            case .replaced: try replace(step, in: folder)
            }
            try root.synchronize(folder, Files.folder(of: step.target))
            placed.append(step)
        }
    }

    private func replace(_ step: RestorePlan.Step, in folder: Int32) throws(CommandFailure) {
        let name = RestorePlan.name(of: step.target)
        if unsettled.contains(step.target) {
            // The database first: what it lacks without its log is no longer at its place.
            guard renameat(folder, name, folder, step.keptName) == 0 else {
                throw .last("rename \(root.shown(step.target))")
            }
            try setCompanionsAside(step, in: folder)
            return try rename(step, in: folder)
        }
        if renameat2(folder, step.temporaryName, folder, name, PST_RENAME_EXCHANGE) == 0 {
            staged.remove(step.target)  // under that name is the old file now
            guard renameat(folder, step.temporaryName, folder, step.keptName) == 0 else {
                throw .last("rename what was \(root.shown(step.target)) and is \(step.temporaryName) now")
            }
            return
        }
        guard errno == EINVAL || errno == ENOSYS else { throw .last("replace \(root.shown(step.target))") }
        guard linkat(folder, name, folder, step.keptName, 0) == 0 else {
            throw .last("keep \(root.shown(step.target))")
        }
        try rename(step, in: folder)
    }

    /// The new file's last step.
    private func rename(_ step: RestorePlan.Step, in folder: Int32) throws(CommandFailure) {
        guard renameat(folder, step.temporaryName, folder, RestorePlan.name(of: step.target)) == 0 else {
            throw .last("make \(root.shown(step.target))")
        }
        staged.remove(step.target)
    }

    /// What a database that is gone has left behind would be taken for the new one's.
    private func setCompanionsAside(_ step: RestorePlan.Step, in folder: Int32) throws(CommandFailure) {
        guard step.entry.state?.isSQLite == true else { return }
        let name = RestorePlan.name(of: step.target)
        for suffix in RestoreRoot.companions where root.exists(name + suffix, in: folder) {
            guard renameat(folder, name + suffix, folder, step.keptName + suffix) == 0 else {
                throw .last("rename \(root.shown(step.target + suffix))")
            }
        }
        try root.synchronize(folder, Files.folder(of: step.target))
    }

    private func setRights(_ step: RestorePlan.Step, in folder: Int32) throws(CommandFailure) {
        let file = openat(folder, RestorePlan.name(of: step.target), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { throw .last("open \(root.shown(step.target))") }
        defer { close(file) }
        if let owner = step.owner {
            guard fchown(file, owner.user, owner.group) == 0 else {
                throw .last("give away \(root.shown(step.target))")
            }
        }
        guard fchmod(file, step.mode) == 0, fsync(file) == 0 else {
            throw .last("set the mode of \(root.shown(step.target))")
        }
    }

    private func folder(of step: RestorePlan.Step) throws(CommandFailure) -> Int32 {
        let path = Files.folder(of: step.target)
        guard let folder = try root.folder(path) else {
            throw CommandFailure(.unavailable, "\(root.shown(path)): expected a folder, found that it is gone")
        }
        return folder
    }

    /// SQLite opens by path, and follows no links. Source: proc(5).
    private func realPath(of folder: Int32) throws(CommandFailure) -> String {
        guard let path = realpath("/proc/self/fd/\(folder)", nil) else { throw .last("look at a folder") }
        defer { free(path) }
        return String(cString: path)
    }
}

/// One file while it is written under its temporary name.
private final class StagedFile {
    private let step: RestorePlan.Step
    private let descriptor: Int32
    private let shown: String

    init(_ step: RestorePlan.Step, in folder: Int32, shown: String) throws(CommandFailure) {
        self.step = step
        self.shown = shown
        descriptor = openat(
            folder, step.temporaryName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .last("write \(shown)") }
    }

    deinit { close(descriptor) }

    func write(_ octets: [UInt8]) throws(CommandFailure) {
        guard WholeWrite.put(octets, into: descriptor) else { throw .last("write \(shown)") }
    }

    func finish() throws(CommandFailure) {
        if let owner = step.owner {
            guard fchown(descriptor, owner.user, owner.group) == 0 else { throw .last("give away \(shown)") }
        }
        guard fchmod(descriptor, step.mode) == 0 else { throw .last("set the mode of \(shown)") }
        if let time = step.entry.modified {
            // A directory's keys take turns by it.
            let rest = time.nanoseconds &- time.seconds &* 1_000_000_000
            let moment = timespec(tv_sec: Int(time.seconds), tv_nsec: Int(rest))
            guard futimens(descriptor, [moment, moment]) == 0 else { throw .last("set the time of \(shown)") }
        }
        // Without it a crash could leave the new name with nothing in it. Source: fsync(2), rename(2).
        guard fsync(descriptor) == 0 else { throw .last("write \(shown)") }
    }
}
