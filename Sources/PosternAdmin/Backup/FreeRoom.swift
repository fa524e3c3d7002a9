// Whether there is room for what will be written, asked before anything is: a disk that is full in the middle is
// handled as well, but that is told later, and without what would be needed. Source: statvfs(3).
//
// Where a file system says nothing of its room nothing is refused; quotas are not looked at.

internal import Glibc
internal import PosternDaemon
internal import PosternMail

/// What a file system has left for us.
struct FreeRoom: Equatable {
    /// Which file system it is.
    let device: UInt
    let octets: Int
    /// How many files more; nil where it has no number of its own.
    let files: Int?
    /// Octets of what it gives to a file at once.
    let unit: Int

    /// - Parameter descriptor: of a file or folder there.
    init?(of descriptor: Int32) {
        var (system, file) = (statvfs(), stat())
        guard fstatvfs(descriptor, &system) == 0, fstat(descriptor, &file) == 0 else { return nil }
        self.init(system, on: file.st_dev)
    }

    init?(at path: String) {
        var (system, file) = (statvfs(), stat())
        guard statvfs(path, &system) == 0, stat(path, &file) == 0 else { return nil }
        self.init(system, on: file.st_dev)
    }

    private init?(_ system: statvfs, on device: UInt) {
        guard system.f_blocks > 0, let unit = Int(exactly: system.f_frsize), unit > 0 else { return nil }
        self.device = device
        self.unit = unit
        // Of what is left for root alone others have nothing.
        let isRoot = geteuid() == 0
        octets = Self.product(isRoot ? system.f_bfree : system.f_bavail, unit)
        // Such as btrfs, which makes them as it needs them.
        files = system.f_files == 0 ? nil : Int(clamping: isRoot ? system.f_ffree : system.f_favail)
    }

    private static func product(_ count: UInt, _ unit: Int) -> Int {
        let (octets, isOver) = Int(clamping: count).multipliedReportingOverflow(by: unit)
        return isOver ? .max : octets
    }

    /// What a file of so many octets takes.
    func taken(by octets: Int) -> Int { (octets + unit - 1) / unit * unit }

    /// What is needed and free, for people; nil where it is enough.
    func shortage(of octets: Int, files count: Int = 1) -> String? {
        if octets > self.octets {
            return "\(ReportNumber.octets(octets)) needed, \(ReportNumber.octets(self.octets)) free"
        }
        if let files, count > files { return "\(count) files to be made, \(files) more possible (inodes)" }
        return nil
    }
}

// MARK: Archives

extension BackupFolder {
    /// About how many octets an archive will take.
    /// - Parameter contents: octets of its files.
    /// - Parameter host: whose last archive here tells how much Zstandard makes of it.
    func archiveOctets(of contents: Int, host: String) -> Int {
        // A folder that cannot be read is told of when it is written to.
        let names = ((try? archiveNames()) ?? []).filter { $0.host == host }
        let last = names.prefix(Self.maxLooked).lazy.compactMap { name -> Double? in
            let archive = ListedBackup(name, in: self)
            // One of much less tells little: a few keys grow in an archive, a database shrinks.
            guard let octets = archive.octets, let before = archive.manifest?.octets, before > contents / 4 else {
                return nil
            }
            return Double(octets) / Double(before)
        }.first
        // A quarter more than the last; a third of databases and text is seldom passed.
        let share = min(1, last.map { $0 * 1.25 } ?? 1.0 / 3)
        return Int(Double(contents) * share)
    }

    /// Archives that are opened to learn that.
    private static let maxLooked = 3

    /// Ends what would only end in a full disk.
    func checkRoom(for contents: Int, host: String) throws(CommandFailure) {
        guard let shortage = FreeRoom(at: path)?.shortage(of: archiveOctets(of: contents, host: host)) else { return }
        throw CommandFailure(
            .unavailable,
            "no room for an archive in \(path): about \(shortage); no archive was made: make room, such as by "
                + "`postern backup prune`, or name another folder by --to")
    }
}

// MARK: Restore

extension RestoreRun {
    /// Where there is no room for what will be written, and how much is missing. What is replaced stays beside it, so
    /// all of it counts.
    func roomTroubles() throws(CommandFailure) -> [String] {
        var needs: [UInt: (room: FreeRoom, place: String, octets: Int, files: Int)] = [:]
        func need(_ octets: Int, at inner: String) throws(CommandFailure) {
            let (room, place) = try nearestRoom(above: inner)
            guard let room else { return }
            let before = needs[room.device] ?? (room, place, 0, 0)
            needs[room.device] = (room, before.place, before.octets + room.taken(by: octets), before.files + 1)
        }
        for step in plan.steps where step.writes {
            try need(step.entry.size, at: step.target)
            // Its log is brought into the old one.
            if step.entry.state?.isSQLite == true { try need(logOctets(of: step), at: step.target) }
        }
        for folder in plan.folders { try need(1, at: folder.path) }
        return needs.values.compactMap { need in
            let place = need.place == "/" ? LogText.escaped(root.path.utf8) : root.shown(need.place)
            return need.room.shortage(of: need.octets, files: need.files).map { "\(place): \($0)" }
        }.sorted()
    }

    /// - Returns: what is there by now of the folders above a path, and its room.
    private func nearestRoom(above inner: String) throws(CommandFailure) -> (room: FreeRoom?, place: String) {
        var folder = Files.folder(of: inner)
        while true {
            if let there = try root.folder(folder) { return (FreeRoom(of: there), folder) }
            guard folder != "/" else { return (nil, folder) }
            folder = Files.folder(of: folder)
        }
    }

    private func logOctets(of step: RestorePlan.Step) throws(CommandFailure) -> Int {
        guard let folder = try root.folder(Files.folder(of: step.target)) else { return 0 }
        var status = stat()
        let isThere = fstatat(folder, RestorePlan.name(of: step.target) + "-wal", &status, AT_SYMLINK_NOFOLLOW) == 0
        return isThere ? Int(status.st_size) : 0
    }
}
