// The files of recorded requests, as their daemon writes them: begins one, appends frames to it, ends it when it is big or
// old enough, and removes the oldest so that neither their age nor their size passes the settings. Trouble with the disk
// is told once, and tried again after a while.

internal import Glibc
internal import PosternAdmission
internal import PosternMail

struct RecordWriter: Sendable {
    private let keeper: RecordKeeper
    private let folder: String
    private let log: any LogSink
    private let now: @Sendable () -> UnixTime
    private var settings = RecordSettings(keep: .zero, octets: 0)

    private var file: (descriptor: Int32, path: String, octets: Int, began: UnixTime)?
    /// Of those that are not written to any more.
    private var others = 0
    private(set) var written: UInt64 = 0
    private var trouble: UnixTime?
    private var tidied: UnixTime?

    /// How long after trouble it is tried again, and how often old files are looked for.
    private static let pause = Duration.seconds(10)
    private static let tidying = Duration.seconds(60)
    /// Into how many files the records are parted, so that what goes at a time is little of them.
    private static let parts = 16
    /// More than a frame: no file is bigger than it is to be.
    private static let smallest = 64 << 10
    private static let biggest = 16 << 20
    private static let shortest = Duration.seconds(60)
    private static let longest = Duration.seconds(86_400)

    init(_ keeper: RecordKeeper, folder: String, log: any LogSink, now: @escaping @Sendable () -> UnixTime) {
        (self.keeper, self.folder, self.log, self.now) = (keeper, folder, log, now)
    }

    var octets: Int { others + (file?.octets ?? 0) }

    private var fullOctets: Int { min(max(settings.octets / Self.parts, Self.smallest), Self.biggest) }
    private var fullAge: Duration { min(max(settings.keep / Self.parts, Self.shortest), Self.longest) }

    mutating func adopt(_ settings: RecordSettings) {
        self.settings = settings
        trouble = nil
        if settings.keep > .zero {
            tidy(evenNow: true)
        } else {
            close()
            removeAll()
        }
    }

    /// Appends a frame.
    /// - Returns: false where it could not be, or is not wanted any more.
    mutating func write(_ payload: [UInt8], records: Int) -> Bool {
        guard settings.keep > .zero else { return false }
        let now = now()
        if let trouble, now - trouble < Self.pause, now >= trouble { return false }
        if let file, file.octets + payload.count + FramedOctets.frameHead > fullOctets {
            close()
            tidy(evenNow: true)
        }
        if file == nil { begin(now) }
        guard let file else { return false }
        var frame: [UInt8] = []
        frame.reserveCapacity(payload.count + FramedOctets.frameHead)
        FramedOctets.append(frame: payload, to: &frame)
        guard WholeWrite.put(frame, into: file.descriptor) else {
            // What is there of the frame is cut, which a reader sees.
            failed("write", file.path, now)
            return false
        }
        if trouble != nil {
            trouble = nil
            log.info("requests are recorded again, in \(file.path)")
        }
        self.file?.octets += frame.count
        written += UInt64(records)
        return true
    }

    private mutating func begin(_ now: UnixTime) {
        let milliseconds = now.nanoseconds / 1_000_000
        // A second one within a millisecond, or one of a clock that was set back.
        for number in milliseconds..<(milliseconds + 16) {
            let path = "\(folder)/\(keeper.prefix)\(number)"
            let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if descriptor < 0, errno == EEXIST { continue }
            guard descriptor >= 0 else { return failed("open", path, now) }
            file = (descriptor, path, RecordFormat.magic.count, now)
            if !WholeWrite.put(RecordFormat.magic, into: descriptor) { failed("write", path, now) }
            return
        }
        failed("open", "\(folder)/\(keeper.prefix)\(milliseconds)", now)
    }

    /// Reads errno.
    private mutating func failed(_ call: String, _ path: String, _ now: UnixTime) {
        let reason = String(cString: strerror(errno))
        if trouble == nil { log.warning("\(call) \(path): \(reason); requests are not recorded, mail goes on") }
        trouble = now
        close()
    }

    /// Ends the file that is being written.
    mutating func close() {
        guard let file else { return }
        // Its last seconds may go with the power otherwise; that it fails says a later write too.
        _ = fdatasync(file.descriptor)
        _ = Glibc.close(file.descriptor)
        self.file = nil
        others += file.octets
        tidied = nil
    }

    // MARK: What goes

    /// Ends a file that is old, and removes those that are too old or too many.
    mutating func tidy(evenNow: Bool = false) {
        guard settings.keep > .zero else { return }
        let now = now()
        if let file, now - file.began >= fullAge { close() }
        if !evenNow, let tidied, now - tidied < Self.tidying, now >= tidied { return }
        tidied = now
        var kept = RecordFile.all(of: keeper, in: folder).filter { $0.path != file?.path }
        // What is being written may grow to its full size.
        var octets = kept.reduce(fullOctets) { $0 + $1.octets }
        kept.removeAll { file in
            guard octets > settings.octets || now - file.modified > settings.keep, remove(file) else { return false }
            octets -= file.octets
            return true
        }
        others = kept.reduce(0) { $0 + $1.octets }
    }

    private mutating func removeAll() {
        let files = RecordFile.all(of: keeper, in: folder)
        let gone = files.count { remove($0) }
        others = 0
        if gone > 0 { log.info("policy.record is off: \(gone) files of recorded requests in \(folder) are removed") }
    }

    private func remove(_ file: RecordFile) -> Bool {
        if unlink(file.path) == 0 || errno == ENOENT { return true }
        log.warning("remove \(file.path): \(String(cString: strerror(errno))); it stays")
        return false
    }
}
