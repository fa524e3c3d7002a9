// Takes what the daemons remember. Each is asked for a copy (`backup` of its control socket) and goes on meanwhile; a
// file is opened while the daemon waits, and stays open here after its name has gone. Of a daemon that does not run the
// file is copied as it lies there, by reading alone: SQLite is never let loose on a daemon's files as root, it would
// leave files of root's beside them.
//
// A daemon may be someone else's program by the time root asks it. It cannot make us read what is not its own: only the
// name that its copy must have is opened, in the state folder; no link is followed, and the file must be a plain one
// with one name that belongs to whom the daemon's state belongs to.

internal import Glibc
internal import PosternDaemon
internal import PosternStore

struct StateTaking {
    let control: DaemonControl
    /// `state.directory`, plain.
    let folder: String
    /// Where copies of files at rest are made.
    let scratch: () throws(CommandFailure) -> BackupScratch
    let progress: (_ state: BackupManifest.State, _ octets: Int, _ total: Int) -> Void

    /// What became of one state.
    enum Outcome {
        /// - Parameter original: the daemon's own file: whose it is.
        case taken(OpenFile, octets: Int, original: stat)
        /// The daemon remembers nothing.
        case nothing
        /// It could not be had; why.
        case failed(String)
    }

    /// Longest silence of a daemon: it waits for a transaction for a minute.
    private static let silence = Duration.seconds(90)
    /// A daemon that starts or stops while its files are copied.
    private static let maxTries = 3

    func take(_ state: BackupManifest.State) throws(CommandFailure) -> Outcome {
        var trouble = "it changes while it is read"
        for _ in 0..<Self.maxTries {
            if let outcome = try asked(state) { return outcome }
            do throws(CommandFailure) {
                if let outcome = try atRest(state) { return outcome }
            } catch {
                guard error.status == .unavailable else { throw error }
                trouble = error.text
                break
            }
        }
        return .failed(trouble)
    }

    private func path(_ state: BackupManifest.State) -> String { Files.path(state.fileName, below: folder) }

    // MARK: Of a daemon that runs

    /// - Returns: nil if it does not run.
    private func asked(_ state: BackupManifest.State) throws(CommandFailure) -> Outcome? {
        var outcome: Outcome?
        let answer = control.read(state.daemon, ControlCommand(StateBackup.command), silence: Self.silence) {
            document in
            if let written = document["written"]?.number, let total = document["total"]?.number {
                progress(state, Int(clamping: written), Int(clamping: total))
                return true
            }
            guard let told = document["file"]?.text else {
                outcome = .nothing
                return false
            }
            outcome = opened(told, of: state)
            return false
        }
        switch answer {
        case .notRunning: return nil
        case .failed(let text): return .failed(text)
        case .document: return outcome ?? .failed(DaemonControl.brokenOff)
        }
    }

    private func opened(_ told: String, of state: BackupManifest.State) -> Outcome {
        let own = path(state)
        guard let plain = BackupCollection.plain(told), [own, StateBackup.copyPath(of: own)].contains(plain) else {
            return .failed("it keeps its state elsewhere than state.directory = \"\(folder)\" says; restart it")
        }
        do throws(CommandFailure) {
            guard let original = try OpenFile.open(own, follows: false) else { return .nothing }
            guard let file = try OpenFile.open(plain, follows: false) else { return .failed("its copy is gone") }
            guard file.isPlain, file.status.st_nlink == 1, file.status.st_uid == original.status.st_uid else {
                return .failed("expected a plain file of its own, found another kind, or another's, at \(plain)")
            }
            return .taken(file, octets: file.octets, original: original.status)
        } catch {
            return .failed(error.text)
        }
    }

    // MARK: Of one that does not

    /// - Returns: nil if it changed meanwhile.
    private func atRest(_ state: BackupManifest.State) throws(CommandFailure) -> Outcome? {
        let own = path(state)
        guard let original = try OpenFile.open(own, follows: false) else { return .nothing }
        guard original.isPlain, original.status.st_nlink == 1 else {
            throw CommandFailure(.unavailable, "expected a plain file with one name, found another kind at \(own)")
        }
        switch state {
        case .dns, .dkimKeys: return .taken(original, octets: original.octets, original: original.status)
        case .limits:
            // A record that a crash has torn at the end would be told as damage.
            let octets = try Self.told(own) { () throws(DatabaseError) in
                try LedgerRest.wholeOctets(ofLimits: original.descriptor)
            }
            return .taken(original, octets: octets, original: original.status)
        case .greylist, .facts:
            let log = try OpenFile.open(own + "-wal", follows: false)
            guard log.map({ $0.isPlain && $0.status.st_nlink == 1 }) ?? true else {
                throw CommandFailure(.unavailable, "expected a plain file with one name, found another at \(own)-wal")
            }
            let copies = try scratch().path
            // The log is brought into the copy.
            let octets = original.octets + 2 * (log?.octets ?? 0)
            if let shortage = FreeRoom(at: copies)?.shortage(of: octets) {
                let place = Files.folder(of: copies)
                throw CommandFailure(.unavailable, "no room for a copy of \(state.fileName) in \(place): \(shortage)")
            }
            let copy = copies + "/" + state.fileName
            try Self.copy(original, to: copy) { progress(state, $0, original.octets) }
            if let log { try Self.copy(log, to: copy + "-wal") { _ in } }
            guard Self.isSame(original, at: own), log.map({ Self.isSame($0, at: own + "-wal") }) ?? true,
                log != nil || !Files.exists(own + "-wal")
            else {
                unlink(copy)
                unlink(copy + "-wal")
                return nil
            }
            try Self.told(own) { () throws(DatabaseError) in try LedgerInspection.settle(Self.real(copy)) }
            guard let file = try OpenFile.open(copy, follows: false) else {
                throw CommandFailure(.unavailable, "the copy of \(own) is gone")
            }
            return .taken(file, octets: file.octets, original: original.status)
        }
    }

    /// SQLite takes no symbolic links on the way.
    private static func real(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func told<Result>(
        _ path: String, _ body: () throws(DatabaseError) -> Result
    ) throws(CommandFailure) -> Result {
        do throws(DatabaseError) { return try body() } catch {
            throw CommandFailure(.unavailable, "\(path): \(error)")
        }
    }

    /// Whether nobody has written to it since it was opened. Source: stat(2).
    private static func isSame(_ file: OpenFile, at path: String) -> Bool {
        var now = stat()
        let then = file.status
        return lstat(path, &now) == 0 && now.st_ino == then.st_ino && now.st_dev == then.st_dev
            && now.st_size == then.st_size && now.st_mtim.tv_sec == then.st_mtim.tv_sec
            && now.st_mtim.tv_nsec == then.st_mtim.tv_nsec && now.st_ctim.tv_sec == then.st_ctim.tv_sec
            && now.st_ctim.tv_nsec == then.st_ctim.tv_nsec
    }

    private static func copy(_ file: OpenFile, to path: String, progress: (Int) -> Void) throws(CommandFailure) {
        let target = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard target >= 0 else { throw CommandFailure(FileFailure.last("write \(path)")) }
        defer { close(target) }
        var offset = 0
        while offset < file.octets {
            let octets = try file.read(at: offset, atMost: min(1 << 20, file.octets - offset))
            guard !octets.isEmpty else { return }  // shorter now: `isSame` finds out
            guard WholeWrite.put(octets, into: target) else { throw .last("write \(path)") }
            offset += octets.count
            progress(offset)
        }
    }
}
