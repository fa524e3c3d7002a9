// Reads files of recorded requests, a piece at a time, and says on standard error how far it is. What is damaged or cut is
// left out and told: a file that a daemon is writing ends somewhere.

internal import Glibc
internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket

struct RecordReader {
    var paths: [String]
    /// The paths were found in a folder, and not named by anybody.
    var isListed = false
    /// Takes a line on how far it is.
    var tell: (String) -> Void = { _ in }
    var clock: () -> MonotonicTime = MonotonicTime.now

    /// How often progress is told.
    static let interval = Duration.seconds(5)
    private static let pieceOctets = 1 << 20

    /// What was read.
    struct Reading: Equatable {
        var records = 0
        var octets = 0
        /// Records that are none, and frames that are damaged.
        var damaged = 0
        /// For standard error.
        var notes: [String] = []
    }

    /// Hands over each record, file by file.
    func read(_ take: (RecordedRequest) -> Void) throws(CommandFailure) -> Reading {
        var reading = Reading()
        var next = clock() + Self.interval
        let total = paths.reduce(0) { $0 + Self.octets(of: $1) }
        for path in paths {
            do throws(FileFailure) {
                try read(path, &reading, &next, total, take)
            } catch {
                // A daemon may have removed it since it was listed.
                if case .system(_, ENOENT) = error, isListed { continue }
                var failure = CommandFailure(error)
                if case .system(_, EACCES) = error { failure.text += "; run this as root" }
                throw failure
            }
        }
        return reading
    }

    private func read(
        _ path: String, _ reading: inout Reading, _ next: inout MonotonicTime, _ total: Int,
        _ take: (RecordedRequest) -> Void
    ) throws(FileFailure) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw .last("read \(path)") }
        defer { close(descriptor) }
        var piece = [UInt8](repeating: 0, count: Self.pieceOctets)
        var frames = RecordFrames()
        while true {
            let count = piece.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .last("read \(path)") }
            guard count > 0 else { break }
            reading.octets += count
            frames.take(piece[..<count]) { payload in
                let (records, malformed) = RecordFormat.records(in: payload)
                reading.records += records.count
                reading.damaged += malformed
                records.forEach(take)
            }
            if frames.isForeign {
                reading.notes.append("warning: \(path): no file of recorded requests, or of another release; left out")
                return
            }
            tellProgress(reading, &next, total)
        }
        if frames.damaged > 0 {
            reading.damaged += frames.damaged
            reading.notes.append("warning: \(path): damaged; what is in order was read")
        }
    }

    /// Source: stat(2).
    private static func octets(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    private func tellProgress(_ reading: Reading, _ next: inout MonotonicTime, _ total: Int) {
        let moment = clock()
        guard moment >= next else { return }
        next = moment + Self.interval
        let share = total > 0 ? " of \(total >> 20) MiB (\(min(100, reading.octets * 100 / total)) %)" : " MiB"
        tell("replaying: \(reading.octets >> 20)\(share), \(reading.records) requests")
    }
}

extension RecordReader {
    /// The files of both daemons, each one's in the order of their time.
    static func files(in folder: String) -> [String] {
        RecordKeeper.allCases.flatMap { RecordFile.all(of: $0, in: folder) }.map(\.path)
    }
}
