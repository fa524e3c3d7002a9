// What the last whole backup was, and the last one that a test found of use, kept in the state folder for `postern
// metrics`, which runs as a user of its own and may not look into the folder of archives. JSON, one object; whoever is
// in the folder's group may read it.

internal import Glibc
internal import PosternDaemon
internal import PosternMail

struct LastBackup: Hashable, Sendable {
    /// What is remembered; the file's name in `state.directory`.
    enum Kind: String, Sendable {
        /// An archive of this host was made.
        case made = "backup.last"
        /// `postern backup test` has found that one of this host would do.
        case tested = "backup.tested"
    }
    private static let maxOctets = 4096

    /// When that was.
    var time: UnixTime
    /// Of the archive.
    var octets: Int

    private var json: JSONValue {
        ["time": .number(Int(time.seconds)), "time_text": .text(BackupTime.text(time)), "octets": .number(octets)]
    }

    /// Writes it: the old one or the new one is there, whatever happens.
    func write(as kind: Kind, in folder: String) throws(CommandFailure) {
        let path = Files.path(kind.rawValue, below: folder)
        let fresh = Files.path(".\(kind.rawValue).new", below: folder)
        unlink(fresh)  // of a crash; if it stays, open tells
        let file = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o640)
        guard file >= 0 else { throw CommandFailure(FileFailure.last("write in \(folder)")) }
        defer { close(file) }
        let octets = Array("\(json)\n".utf8)
        fchmod(file, 0o640)
        guard put(file, octets) == octets.count, fsync(file) == 0, rename(fresh, path) == 0 else {
            let failure = FileFailure.last("write \(path)")
            unlink(fresh)
            throw CommandFailure(failure)
        }
    }

    private func put(_ file: Int32, _ octets: [UInt8]) -> Int {
        octets.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }  // so little is written at once
    }

    /// - Returns: nil where there is none that we may read.
    static func read(_ kind: Kind = .made, in folder: String) -> LastBackup? {
        // What cannot be read is told by the metric's absence.
        guard let file = try? OpenFile.open(Files.path(kind.rawValue, below: folder), follows: false),
            file.isPlain, file.octets <= maxOctets, let octets = try? file.read(at: 0, atMost: maxOctets),
            let document = try? ControlDocument(octets), let time = document["time"]?.number,
            let size = document["octets"]?.number
        else { return nil }
        return LastBackup(time: UnixTime(seconds: time), octets: Int(clamping: size))
    }
}
