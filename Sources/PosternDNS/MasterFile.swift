// Reads the text of a master file (RFC 1035 §5) through ldns, record by record, with the line at which each ends.
// Unlike a zone, the text may hold names of any domains and needs no SOA record. $INCLUDE is refused: nothing here
// opens a file.

internal import CLDNS
import Glibc
import PosternMail

/// What is wrong with a master file, and where.
public struct MasterFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Counted from 1.
    public var line: Int
    public var reason: String

    public var description: String { "line \(line): \(reason)" }
}

/// One reading of one text. Owns ldns's objects that live from record to record.
struct MasterFile: ~Copyable {
    private let file: UnsafeMutablePointer<FILE>
    private var origin: UnsafeMutablePointer<ldns_rdf>?  // owned, as is `previous`
    private var previous: UnsafeMutablePointer<ldns_rdf>?
    private var defaultTTL: UInt32 = 3600
    /// Our own count of lines: ldns's runs ahead over empty ones.
    private let text: [UInt8]
    private var seen = 0  // octets of the text that were counted
    private var lineEnds = 0
    private var line = 1  // of the last visible octet seen

    /// Most records in one text: a bound on memory, far above what a hand-kept file holds.
    static let maxRecords = 1_000_000

    /// All records of `text` with the number of the line at which each ends.
    /// - Parameter origin: what names without a dot at their end are relative to, until the first $ORIGIN.
    static func records(
        in text: [UInt8], origin: DomainName
    ) throws(MasterFileError) -> [(record: ResourceRecord, line: Int)] {
        if let nul = text.firstIndex(of: 0) {  // ldns takes it for the end of a C string
            throw MasterFileError(line: 1 + text[..<nul].count { $0 == 0x0A }, reason: "a NUL octet")
        }
        var octets = text + [0x0A]  // ldns wants a line end after the last record
        let result: Result<[(record: ResourceRecord, line: Int)], MasterFileError> = octets.withUnsafeMutableBytes {
            buffer in
            do throws(MasterFileError) {
                var reading = try MasterFile(of: text, in: buffer, origin: origin)
                return .success(try reading.all())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// - Parameter buffer: the text; must outlive the value.
    private init(
        of text: [UInt8], in buffer: UnsafeMutableRawBufferPointer, origin: DomainName
    ) throws(MasterFileError) {
        let absolute = origin == .root ? "." : "\(origin)."
        guard let file = fmemopen(buffer.baseAddress, buffer.count, "r") else {
            throw MasterFileError(line: 1, reason: "out of memory")
        }
        self.file = file
        self.text = text
        self.origin = ldns_dname_new_frm_str(absolute)
    }

    deinit {
        fclose(file)  // nothing was written: there is nothing to lose
        ldns_rdf_deep_free(origin)
        ldns_rdf_deep_free(previous)
    }

    private mutating func all() throws(MasterFileError) -> [(record: ResourceRecord, line: Int)] {
        var found: [(record: ResourceRecord, line: Int)] = []
        while feof(file) == 0 {
            var parsed: UnsafeMutablePointer<ldns_rr>?
            let status = ldns_rr_new_frm_fp_l(&parsed, file, &defaultTTL, &origin, &previous, nil)
            defer { ldns_rr_free(parsed) }
            countLines()
            switch status {
            case LDNS_STATUS_SYNTAX_EMPTY, LDNS_STATUS_SYNTAX_TTL, LDNS_STATUS_SYNTAX_ORIGIN: continue
            case LDNS_STATUS_OK: break
            case LDNS_STATUS_SYNTAX_INCLUDE: throw error("$INCLUDE is not supported: put the records here")
            default: throw error(String(cString: ldns_get_errorstr_by_id(status)))
            }
            guard let parsed else { continue }
            guard found.count < Self.maxRecords else { throw error("more than \(Self.maxRecords) records") }
            found.append((try record(parsed), line))
        }
        return found
    }

    /// The record in our own form, by way of the wire: what ldns holds in rdfs is what it would send.
    private func record(_ parsed: UnsafeMutablePointer<ldns_rr>) throws(MasterFileError) -> ResourceRecord {
        var wire: UnsafeMutablePointer<UInt8>?
        var size = 0
        let status = ldns_rr2wire(&wire, parsed, Int32(LDNS_SECTION_ANSWER.rawValue), &size)
        defer { free(wire) }
        guard status == LDNS_STATUS_OK, let wire else {
            throw error(String(cString: ldns_get_errorstr_by_id(status)))
        }
        var reader = WireReader(Array(UnsafeBufferPointer(start: wire, count: size)))
        do {
            let (record, recordClass) = try ResourceRecord.read(from: &reader)
            guard recordClass == DNSCodec.classIN else { throw error("a class other than IN") }
            _ = try record.data()
            return record
        } catch let failure as MasterFileError {
            throw failure
        } catch {
            throw self.error("\(error)")
        }
    }

    /// Counts on to where ldns has read.
    private mutating func countLines() {
        let end = ftell(file)
        for octet in text.prefix(end).dropFirst(seen) {
            if octet == 0x0A { lineEnds += 1 } else if !octet.isFoldingWhiteSpace { line = lineEnds + 1 }
        }
        seen = max(seen, end)
    }

    private func error(_ reason: String) -> MasterFileError { MasterFileError(line: line, reason: reason) }
}
