// The identity of a finding by its name in the configuration.

import PosternDaemon
import PosternMail

extension SPFFinding {
    func isOf(_ identity: SPFIdentity) -> Bool {
        switch (self.identity, identity) {
        case (.mailFrom, .mailFrom), (.helo, .helo): true
        case (.mailFrom, .helo), (.helo, .mailFrom): false
        }
    }
}
